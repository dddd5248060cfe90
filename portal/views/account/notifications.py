"""Notification preferences, and the unsubscribe links in e-mails."""

from decimal import Decimal

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.notification_preferences import ALWAYS_MAILED, Topic
from models.services.ledger.money import parse_amount
from models.services.notifications import preferences as notification_preferences
from portal.forms.domain_errors import form_errors
from portal.forms.notifications import ThresholdForm
from portal.i18n import gettext as _
from portal.request import auth, context

blueprint = Blueprint("notifications", __name__, url_prefix="/notifications")
blueprint.before_request(auth.require_login)
# The link works without a login: its signature is the permission, and no cookie is read.
unsubscribe = Blueprint("unsubscribe", __name__, url_prefix="/unsubscribe")


@blueprint.get("")
def settings() -> str:
    """Show every topic with its switches for e-mail and webhook."""
    return _page(ThresholdForm(data={"low_balance": f"{context.user().low_balance_znc:.2f}"}))


@blueprint.post("")
def change() -> str | Response | tuple[str, int]:
    """Save all switches and the threshold."""
    user, form = context.user(), ThresholdForm(request.form)
    if not form.validate():
        return _page(form), 400
    by_mail, by_webhook = set(request.form.getlist("mail")), set(request.form.getlist("webhook"))
    with form_errors(form) as result:
        threshold = _threshold(str(form.low_balance.data))
    if not result.is_done:
        return _page(form), result.status
    with context.transaction() as session:
        user.low_balance_znc = threshold
        for topic in Topic:
            notification_preferences.set_preference(
                session, user, topic, mail=topic in by_mail, webhook=topic in by_webhook
            )
    flash(_("Preferences saved."), "good")
    return redirect(url_for("notifications.settings"), 303)


@unsubscribe.get("/<signed>")
def ask(signed: str) -> Response:
    """Ask for confirmation: mail scanners follow every link and must not unsubscribe the reader."""
    return _unsubscribe_page(signed, done=False)


@unsubscribe.post("/<signed>")
def act(signed: str) -> Response:
    """Unsubscribe: by the page's button, or a mail program's one-click request (RFC 8058)."""
    with context.transaction() as session:
        user, topic = notification_preferences.subscription(session, context.settings().portal, signed)
        notification_preferences.set_preference(session, user, topic, mail=False)
    return _unsubscribe_page(signed, done=True)


def _unsubscribe_page(signed: str, *, done: bool) -> Response:
    _user, topic = notification_preferences.subscription(context.session(), context.settings().portal, signed)
    response = make_response(render_template("account/unsubscribe.html", topic=topic, done=done))
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _threshold(text: str) -> Decimal:
    if text.strip().strip("0") in {"", "."}:
        return Decimal(0)
    return parse_amount(text, field="low_balance")


def _page(form: ThresholdForm) -> str:
    choices = notification_preferences.preferences_of(context.session(), context.user().id)
    return render_template("account/notifications.html", form=form, choices=choices, always_mailed=ALWAYS_MAILED)
