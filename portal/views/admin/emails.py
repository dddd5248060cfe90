"""Admin pages for e-mails: the outbox by state, and previews of every kind."""

import uuid
from operator import itemgetter

from flask import Blueprint, abort, flash, make_response, redirect, render_template, request, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models.outbox import MailState, OutboxMail
from models.services.notifications import mail_rendering, mail_samples, outbox
from models.services.notifications import preferences as notification_preferences
from models.services.notifications.mail_rendering import RenderedMail
from models.services.pagination import LOG_COUNT
from models.translations import LANGUAGES
from portal.documents import list_export
from portal.i18n import gettext as _
from portal.presentation import formatting
from portal.request import auth, context
from portal.request.pagination import page_slice
from portal.request.safe_redirects import local_path
from portal.request.security_headers import HEADERS, content_security_policy

blueprint = Blueprint("admin_emails", __name__, url_prefix="/admin/mails")
blueprint.before_request(auth.require_admin)

# Content policy of a previewed e-mail: inline style only, no scripts, forms or images, in a sandboxed origin.
MAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; sandbox"

COLUMNS: dict[str, list_export.Column[OutboxMail]] = {
    "id": lambda mail: str(mail.id),
    "kind": lambda mail: mail.kind,
    "recipient": lambda mail: mail.recipient,
    "attempts": lambda mail: mail.attempts,
    "created_at": lambda mail: mail.created_at,
    "next_attempt_at": lambda mail: mail.next_attempt_at,
    "sent_at": lambda mail: mail.sent_at,
    "failed_at": lambda mail: mail.failed_at,
    "last_error": lambda mail: mail.last_error,
}


@blueprint.get("")
def listing() -> str | FlaskResponse:
    """List e-mails by state."""
    state = next((known for known in MailState if known == request.args.get("state")), MailState.WAITING)
    if list_export.is_wanted():
        return list_export.as_csv("mails", COLUMNS, outbox.list_mails(state))
    page = outbox.list_mails(state).page(context.session(), **page_slice(), count_to=LOG_COUNT)
    return render_template("admin/emails.html", page=page, state=state, states=list(MailState))


@blueprint.post("/<uuid:mail_id>/again")
def send_again(mail_id: uuid.UUID) -> Response:
    """Resend an e-mail that failed permanently."""
    with context.transaction() as session:
        outbox.resend(session, mail_id, actor=context.actor())
    context.enqueue_job("jobs.mail.send_pending")
    flash(_("The e-mail will be sent again."), "good")
    return redirect(local_path(request.form.get("next"), url_for("admin_emails.listing")), 303)


@blueprint.get("/samples")
def preview() -> Response:
    """Preview one kind of e-mail in one language, as text and as HTML."""
    known = mail_rendering.kinds()
    kind = request.args.get("kind", known[0])
    written = _render_sample(kind, request.args.get("lang", "en"))
    named = sorted(((each, formatting.kind_name(each)) for each in known), key=itemgetter(1))
    page = render_template(
        "admin/email_previews.html", kinds=named, kind=kind, lang=request.args.get("lang", "en"), letter=written
    )
    response = make_response(page)
    policy = f"{content_security_policy()}; frame-src 'self'"
    response.headers["Content-Security-Policy"] = policy
    return response


@blueprint.get("/samples/<kind>/<lang>")
def preview_html(kind: str, lang: str) -> Response:
    """Return the HTML of a previewed e-mail, for the frame of `preview`."""
    response = make_response(_render_sample(kind, lang).html or "")
    response.headers.update({**HEADERS, "Content-Security-Policy": MAIL_POLICY, "X-Frame-Options": "SAMEORIGIN"})
    return response


def _render_sample(kind: str, lang: str) -> RenderedMail:
    if kind not in mail_rendering.kinds() or lang not in LANGUAGES:
        abort(404)
    portal = context.settings().portal
    way_out = notification_preferences.unsubscribe_path(portal, uuid.UUID(int=0), kind)
    return mail_rendering.render(
        kind,
        mail_samples.sample_context(kind),
        language=lang,
        portal_url=portal.address,
        unsubscribe_url=f"{portal.address}{way_out}" if way_out else None,
    )
