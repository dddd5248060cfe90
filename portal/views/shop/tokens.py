"""Access tokens of the user: list, purchase, details, revocation, browser access."""

import uuid

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models import clock
from models.access_tokens import TokenState
from models.services.errors import (
    DomainError,
    InsufficientFunds,
    NotFound,
)
from models.services.gateway import sessions
from models.services.ledger import transfers
from models.services.reports import usage
from models.services.reports.usage import Period
from models.services.tokens import browser_access, revocation
from models.services.tokens import history as token_history
from models.services.tokens import pause as token_pause
from models.services.tokens import purchase as token_purchase
from models.services.tokens import queries as token_queries
from portal.forms.domain_errors import flashed_errors, form_errors
from portal.forms.shop import BuyForm
from portal.i18n import gettext as _
from portal.presentation import formatting
from portal.request import auth, context, security_headers
from portal.request.pagination import page_slice
from portal.status import recent_requests
from portal.views.shop.coupon_quotes import prices_with_coupon
from portal.views.shop.usage import labels

blueprint = Blueprint("tokens", __name__, url_prefix="/tokens")
blueprint.before_request(auth.require_login)

DAYS_SHOWN = 14
ENDED = {TokenState.REVOKED, TokenState.EXPIRED}


@blueprint.get("")
def listing() -> str:
    """List the user's tokens, newest first."""
    return render_template(
        "tokens/list.html", page=token_queries.of_user(context.session(), context.user().id, **page_slice())
    )


@blueprint.get("/buy")
def buy_form() -> str:
    """Show the purchase form; the query may prefill it, as the link back from a top-up does."""
    settings = context.settings()
    form = BuyForm.for_sale(
        settings,
        duration_hours=request.args.get("duration_hours", type=int) or _usual_duration(),
        scope=request.args.get("scope") or next(iter(settings.scopes)),
        name=request.args.get("name", "")[: token_purchase.NAME_LENGTH],
        coupon=request.args.get("coupon", "")[:32],
        token_id=uuid.uuid4(),
    )
    return _buy_page(form)


@blueprint.post("/buy")
def buy() -> str | Response | tuple[str, int]:
    """Sell a token and show its secret once, in this response.

    There is no redirect, which would have to store the secret. A form submitted again, by a reload or a double click,
    has the same token id and leads to the token instead.
    """
    form = BuyForm.for_sale(context.settings())
    is_fit = form.validate()
    if not is_fit or "quote" in request.form:
        return _buy_page(form), 200 if is_fit else 400
    repeated = _("This token has already been purchased and was not charged twice. Its secret was shown once.")
    with form_errors(form, repeated=repeated) as result, context.transaction() as session:
        token, secret = token_purchase.purchase(
            session,
            context.user(),
            hours=form.duration_hours.data,
            scope=str(form.scope.data),
            name=form.name.data or "",
            settings=context.fresh_settings(session),
            actor=context.actor(),
            token_id=form.token_id.data,
            coupon=form.coupon.data or "",
            shown=form.shown.of(form.duration_hours.data),
        )
    if result.is_form_error:
        return _buy_page(form, result.error), result.status
    if not result.is_done:
        return redirect(url_for("tokens.detail", token_id=form.token_id.data), 303)
    wallet = transfers.wallet_of(context.session(), context.user().id)
    return render_template("tokens/secret.html", token=token, secret=secret, wallet=wallet)


@blueprint.get("/<uuid:token_id>")
def detail(token_id: uuid.UUID) -> Response:
    """Show a token: remaining time, sessions, and the refund if revoked now."""
    token = token_queries.owned(context.session(), context.user(), token_id)
    days = usage.series(context.session(), Period.DAY, token_id=token.id, shown=DAYS_SHOWN, zone=context.zone())
    response = make_response(
        render_template(
            "tokens/detail.html",
            token=token,
            refund=revocation.refund_preview(context.session(), token, context.settings()),
            renewal_price=context.settings().prices.znc.get(token.duration_hours),
            pause=token_pause.preview(context.session(), token, context.settings()),
            history=token_history.of_token(context.session(), token, **page_slice("history")),
            sessions=sessions.list_sessions(context.session(), token_id=token.id, **page_slice()),
            refusals=recent_requests.refusals(token.id),
            days=days,
            day_labels=labels(days, Period.DAY),
        )
    )
    # "Open in browser" is a form whose redirect leads to the proxy.
    policy = security_headers.content_security_policy(forms_lead_to=context.settings().proxy.address)
    response.headers["Content-Security-Policy"] = policy
    return response


@blueprint.post("/<uuid:token_id>/open")
def open_in_browser(token_id: uuid.UUID) -> Response:
    """Redirect the browser to the proxy with a one-time ticket, which the proxy exchanges for a cookie."""
    settings = context.settings()
    with flashed_errors(category="info") as result, context.transaction() as session:
        ticket = browser_access.issue_ticket(
            session, context.user(), token_id, settings=settings, actor=context.actor()
        )
    if not result.is_done:
        return redirect(url_for("tokens.detail", token_id=token_id), 303)
    response = redirect(f"{settings.proxy.address}/_zenzefi/enter?ticket={ticket}", 303)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.get("/<uuid:token_id>/revoke")
def confirm_revoke(token_id: uuid.UUID) -> str | Response:
    """Ask for confirmation with the refund; replaces the dialog in browsers without scripts."""
    token = token_queries.owned(context.session(), context.user(), token_id)
    if token.state(clock.now()) in ENDED:
        return redirect(url_for("tokens.detail", token_id=token.id))
    refund = revocation.refund_preview(context.session(), token, context.settings())
    return render_template("tokens/revoke.html", token=token, refund=refund)


@blueprint.post("/<uuid:token_id>/revoke")
def revoke(token_id: uuid.UUID) -> Response:
    """Revoke the token and refund its unused time."""
    with flashed_errors(category="info") as result, context.transaction() as session:
        _token, refund = revocation.revoke(
            session, context.user(), token_id, settings=context.settings(), actor=context.actor()
        )
    if result.is_done:
        given_back = formatting.amount(refund)
        flash(_("Token revoked. %(amount)s ZNC refunded to your wallet.", amount=given_back), "good")
    return redirect(url_for("tokens.detail", token_id=token_id), 303)


@blueprint.post("/<uuid:token_id>/sessions/<uuid:session_id>/release")
def release(token_id: uuid.UUID, session_id: uuid.UUID) -> Response:
    """End the session that locks the token to a device, so that another device can use it."""
    token_queries.owned(context.session(), context.user(), token_id)
    try:
        with context.transaction() as session:
            sessions.release(session, context.user(), session_id, context.actor())
    except NotFound:
        if not sessions.exists(context.session(), session_id, token_id=token_id):
            raise
        flash(_("This session has already ended."), "info")
    else:
        flash(_("Device released. Another device can use the token now."), "good")
    return redirect(url_for("tokens.detail", token_id=token_id), 303)


def _usual_duration() -> int:
    """Return the duration in the middle of the list, the default."""
    on_sale = sorted(context.settings().prices.znc)
    return on_sale[len(on_sale) // 2]


def _buy_page(form: BuyForm, error: DomainError | None = None) -> str:
    """Render the purchase; after InsufficientFunds with a link to a top-up that leads back to it."""
    wallet = transfers.wallet_of(context.session(), context.user().id)
    top_up = None
    if isinstance(error, InsufficientFunds):
        chosen = {"duration_hours": form.duration_hours.data, "scope": form.scope.data, "name": form.name.data or None}
        chosen["coupon"] = form.coupon.data or None
        back = url_for("tokens.buy_form", **chosen)
        top_up = url_for("wallet.overview", amount=f"{error.needed - wallet.balance:.2f}", next=back)
    prices = form.shown.now = context.settings().prices.znc
    form.duration_hours.choices = [(hours, formatting.duration(hours)) for hours in sorted(prices)]
    facts = {"wallet": wallet, "quotes": prices_with_coupon(form, prices), "top_up": top_up}
    return render_template("tokens/buy.html", form=form, **facts)
