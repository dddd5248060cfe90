"""Settings of a token: pause, name, auto-renewal, extension and secret."""

import uuid
from datetime import timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models import clock
from models.access_tokens import AccessToken, TokenState
from models.services.errors import (
    DomainError,
    InsufficientFunds,
)
from models.services.ledger import transfers
from models.services.ledger.money import parse_amount
from models.services.tokens import extension, renewal, rotation
from models.services.tokens import pause as token_pause
from models.services.tokens import queries as token_queries
from portal.forms.domain_errors import flashed_errors, form_errors
from portal.forms.shop import ExtendForm, NameForm, RotateForm
from portal.i18n import gettext as _
from portal.presentation import confirmation, formatting
from portal.request import auth, context

blueprint = Blueprint("token_changes", __name__, url_prefix="/tokens")
blueprint.before_request(auth.require_login)


@blueprint.get("/<uuid:token_id>/pause")
def confirm_pause(token_id: uuid.UUID) -> str | Response:
    """Ask for confirmation before a pause, which locks the token for a minimum time."""
    token = token_queries.owned(context.session(), context.user(), token_id)
    settings = context.settings()
    preview = token_pause.preview(context.session(), token, settings)
    if token.state(clock.now()) is not TokenState.ACTIVE or preview.refused:
        return redirect(url_for("tokens.detail", token_id=token_id))
    least = formatting.span(settings.pause.at_least_minutes * 60)
    return confirmation.ask(
        _("Pause this token?"),
        [
            _("A paused token cannot be used, and its time does not run."),
            _("You can resume it after %(least)s at the earliest.", least=least),
            _("Pauses left after this one: %(left)d.", left=preview.left),
        ],
        about=token.name or f"{token.prefix}…",
        action=url_for("token_changes.pause", token_id=token_id),
        button=_("Pause token"),
        back=url_for("tokens.detail", token_id=token_id),
        is_dangerous=False,
    )


@blueprint.post("/<uuid:token_id>/pause")
def pause(token_id: uuid.UUID) -> Response:
    """Pause the token."""
    with (
        flashed_errors(_("Token paused. It cannot be used until you resume it, and its time does not run.")),
        context.transaction() as session,
    ):
        token_pause.pause(session, context.user(), token_id, settings=context.settings(), actor=context.actor())
    return _to_token(token_id)


@blueprint.post("/<uuid:token_id>/resume")
def resume(token_id: uuid.UUID) -> Response:
    """Resume the token."""
    with flashed_errors(_("Token resumed. Its time is running again.")), context.transaction() as session:
        token_pause.resume(session, context.user(), token_id, settings=context.settings(), actor=context.actor())
    return _to_token(token_id)


@blueprint.post("/<uuid:token_id>/name")
def rename(token_id: uuid.UUID) -> Response:
    """Rename the token."""
    form = NameForm(request.form)
    with flashed_errors(_("Name saved.")), context.transaction() as session:
        rotation.rename(session, context.user(), token_id, name=form.name.data or "", actor=context.actor())
    return _to_token(token_id)


@blueprint.post("/<uuid:token_id>/renewal")
def set_renewal(token_id: uuid.UUID) -> Response:
    """Turn auto-renewal on or off."""
    on = request.form.get("on") == "1"
    said = _("Auto-renewal is on.") if on else _("Auto-renewal is off.")
    shown = request.form.get("shown", "")
    with flashed_errors(said), context.transaction() as session:
        renewal.set_auto_renew(
            session,
            context.user(),
            token_id,
            on=on,
            settings=context.fresh_settings(session),
            actor=context.actor(),
            shown=parse_amount(shown, field="shown") if on and shown else None,
        )
    return _to_token(token_id)


@blueprint.get("/<uuid:token_id>/extend")
def extend_form(token_id: uuid.UUID) -> str | Response:
    """Show the durations and prices of an extension."""
    token = _find_unless_ended(token_id)
    if token is None:
        return _to_token(token_id)
    chosen = request.args.get("hours", type=int) or token.duration_hours
    form = ExtendForm.for_sale(context.settings(), hours=chosen, key=uuid.uuid4())
    return _extend_page(token, form)


@blueprint.post("/<uuid:token_id>/extend")
def extend(token_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Extend the token; a form submitted twice is charged once."""
    token = _find_unless_ended(token_id)
    if token is None:
        return _to_token(token_id)
    form = ExtendForm.for_sale(context.settings())
    if not form.validate() or form.key.data is None:
        return _extend_page(token, form), 400
    hours, key = form.hours.data, form.key.data
    repeated = _("This extension has already been purchased and was not charged twice.")
    with (
        flashed_errors() as change,
        form_errors(form, repeated=repeated) as result,
        context.transaction() as session,
    ):
        price = extension.extend(
            session,
            context.user(),
            token_id,
            hours=hours,
            key=key,
            settings=context.fresh_settings(session),
            actor=context.actor(),
            shown=form.shown.of(hours),
        )
    if result.is_form_error:
        return _extend_page(token, form, result.error), result.status
    if change.is_done and result.is_done:
        paid = formatting.amount(price)
        flash(
            _("Extended by %(duration)s for %(amount)s ZNC.", duration=formatting.duration(hours), amount=paid), "good"
        )
    return _to_token(token_id)


@blueprint.get("/<uuid:token_id>/secret")
def rotate_form(token_id: uuid.UUID) -> str | Response:
    """Ask for confirmation before the secret is rotated."""
    token = _find_unless_ended(token_id)
    if token is None:
        return _to_token(token_id)
    return render_template("tokens/rotate.html", token=token, form=RotateForm(data={"seen": token.generation}))


@blueprint.post("/<uuid:token_id>/secret")
def rotate(token_id: uuid.UUID) -> str | Response:
    """Rotate the secret and show the new one once, in this response."""
    form = RotateForm(request.form)
    seen = form.seen.data if form.validate() else 0
    with flashed_errors(category="info") as result, context.transaction() as session:
        token, secret = rotation.rotate(
            session,
            context.user(),
            token_id,
            settings=context.settings(),
            actor=context.actor(),
            seen=seen,
            at_once=form.at_once.data,
        )
    if not result.is_done:
        return _to_token(token_id)
    wallet = transfers.wallet_of(context.session(), context.user().id)
    return render_template("tokens/secret.html", token=token, secret=secret, wallet=wallet, replaced=True)


@blueprint.get("/<uuid:token_id>/old-secret")
def confirm_end_old_secret(token_id: uuid.UUID) -> str | Response:
    """Ask for confirmation before the old secret is revoked early."""
    token = _find_unless_ended(token_id)
    if token is None or not token.has_previous(clock.now()):
        return redirect(url_for("tokens.detail", token_id=token_id))
    return confirmation.ask(
        _("Revoke the old secret now?"),
        [_("Clients that still use the old secret are disconnected within a second. The new secret keeps working.")],
        about=token.name or f"{token.prefix}…",
        action=url_for("token_changes.end_old_secret", token_id=token_id),
        button=_("Revoke old secret"),
        back=url_for("tokens.detail", token_id=token_id),
    )


@blueprint.post("/<uuid:token_id>/old-secret")
def end_old_secret(token_id: uuid.UUID) -> Response:
    """Revoke the old secret; repeating it changes nothing."""
    with flashed_errors(_("The old secret no longer works.")), context.transaction() as session:
        rotation.end_previous(session, context.user(), token_id, actor=context.actor())
    return _to_token(token_id)


def _to_token(token_id: uuid.UUID) -> Response:
    return redirect(url_for("tokens.detail", token_id=token_id), 303)


def _find_unless_ended(token_id: uuid.UUID) -> AccessToken | None:
    """Return the user's token, or None with a flash message when it has ended."""
    token = token_queries.owned(context.session(), context.user(), token_id)
    with flashed_errors(category="info") as result:
        token_queries.require_not_ended(token.state(clock.now()))
    return token if result.is_done else None


def _extend_page(token: AccessToken, form: ExtendForm, error: DomainError | None = None) -> str:
    wallet = transfers.wallet_of(context.session(), context.user().id)
    prices = form.shown.now = context.settings().prices.znc
    form.hours.choices = [(hours, formatting.duration(hours)) for hours in sorted(prices)]
    top_up = None
    if isinstance(error, InsufficientFunds):
        back = url_for("token_changes.extend_form", token_id=token.id, hours=form.hours.data)
        top_up = url_for("wallet.overview", amount=f"{error.needed - wallet.balance:.2f}", next=back)
    ends = {hours: token.expires_at and token.expires_at + timedelta(hours=hours) for hours in prices}
    facts = {"wallet": wallet, "prices": prices, "top_up": top_up, "ends": ends}
    return render_template("tokens/extend.html", token=token, form=form, **facts)
