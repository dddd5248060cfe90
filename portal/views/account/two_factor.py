"""The user's own second factor: setting it up, new recovery codes, turning it off."""

from collections.abc import Callable
from typing import Any

import segno
from flask import Blueprint, flash, redirect, render_template, request, url_for
from markupsafe import Markup
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models.services.accounts import two_factor
from portal.forms.base import Form
from portal.forms.domain_errors import ChangeResult, form_errors
from portal.forms.two_factor import BeginForm, FirstCodeForm, RenewCodesForm
from portal.i18n import gettext as _
from portal.request import auth, context, login_limits

blueprint = Blueprint("two_factor", __name__, url_prefix="/profile/two-factor")
blueprint.before_request(auth.require_login)
blueprint.before_request(auth.forbid_while_impersonating)


@blueprint.get("")
def overview() -> str:
    """Say how the second factor stands, with what can be done about it."""
    return _overview(BeginForm(), RenewCodesForm())


@blueprint.post("/begin")
def begin() -> str | Response | tuple[str, int]:
    """Make a secret for the app, against the password: a browser left open must not lock its owner out."""
    form = BeginForm(request.form)

    def act(own: Session) -> None:
        password = str(form.current_password.data)
        two_factor.begin(own, context.user(), password=password, settings=context.frozen_settings())

    if _apply_with_proof(form, act).is_done:
        return redirect(url_for("two_factor.setup"), 303)
    return _overview(form, RenewCodesForm()), 400


@blueprint.route("/setup", methods=["GET", "POST"])
def setup() -> str | Response | tuple[str, int]:
    """Show the secret that waits, and turn it on with a first code of the app; then show the recovery codes, once."""
    user, settings = context.user(), context.frozen_settings()
    secret = two_factor.waiting_secret(context.session(), user, settings)
    if secret is None:
        return redirect(url_for("two_factor.overview"))
    form = FirstCodeForm(request.form)
    codes: list[str] = []

    def act(own: Session) -> None:
        code = str(form.code.data)
        codes.extend(two_factor.confirm(own, user, code, settings=settings, actor=context.actor()))

    if request.method == "POST" and _apply_with_proof(form, act).is_done:
        return render_template("account/recovery_codes.html", codes=codes, fresh=True)
    address = two_factor.address(user, secret, settings)
    spaced = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return render_template(
        "account/two_factor_setup.html",
        form=form,
        address=address,
        secret=spaced,
        # Drawn by segno from our own address; nothing of it is markup of somebody else's.
        picture=Markup(segno.make(address, error="m").svg_inline(scale=5, border=3, light="#fff")),  # noqa: S704
    ), 400 if form.errors else 200


@blueprint.post("/codes")
def renew_codes() -> str | Response | tuple[str, int]:
    """Make new recovery codes and show them, once; a form sent twice makes one set."""
    form = RenewCodesForm(request.form)
    codes: list[str] = []

    def act(own: Session) -> None:
        codes.extend(two_factor.renew_codes(own, context.user(), **_proof(form), seen=form.seen.data or 0))

    result = _apply_with_proof(form, act)
    if result.is_form_error:
        return _overview(BeginForm(), form), 400
    if not result.is_done:
        return redirect(url_for("two_factor.overview"), 303)
    return render_template("account/recovery_codes.html", codes=codes, fresh=False)


@blueprint.post("/off")
def turn_off() -> str | Response | tuple[str, int]:
    """Turn the second factor off."""
    form = RenewCodesForm(request.form)
    if _apply_with_proof(form, lambda own: two_factor.turn_off(own, context.user(), **_proof(form))).is_done:
        flash(_("Two-factor authentication is off."), "info")
        return redirect(url_for("two_factor.overview"), 303)
    return _overview(BeginForm(), form), 400


def _proof(form: RenewCodesForm) -> dict[str, Any]:
    facts = {"password": str(form.current_password.data), "code": str(form.code.data)}
    return {**facts, "settings": context.frozen_settings(), "actor": context.actor()}


def _apply_with_proof(form: Form, act: Callable[[Session], None]) -> ChangeResult:
    """Act on a form that asks for proof; a wrong password or code is counted, and shown at its field."""
    if not form.validate():
        return ChangeResult(status=400)
    with (
        form_errors(form, repeated=_("New codes have already been created. They were shown once.")) as result,
        login_limits.proof_attempt(context.login().id),
        context.transaction() as own,
    ):
        act(own)
    return result


def _overview(begin_form: BeginForm, form: RenewCodesForm) -> str:
    state = two_factor.status(context.session(), context.user().id)
    if form.seen.data is None:
        form.seen.data = state.codes_generation
    must = context.user().is_superuser and context.frozen_settings().admin_two_factor
    return render_template("account/two_factor.html", state=state, begin_form=begin_form, form=form, must=must)
