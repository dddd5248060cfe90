"""Admin page for webhook deliveries by state, with resending."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask import Response as FlaskResponse
from werkzeug.wrappers import Response

from models.services.pagination import LOG_COUNT
from models.services.webhooks import deliveries
from models.webhooks import DeliveryState, WebhookDelivery
from portal.documents import list_export
from portal.i18n import gettext as _
from portal.request import auth, context
from portal.request.pagination import page_slice
from portal.request.safe_redirects import local_path

blueprint = Blueprint("admin_webhooks", __name__, url_prefix="/admin/webhooks")
blueprint.before_request(auth.require_admin)

COLUMNS: dict[str, list_export.Column[WebhookDelivery]] = {
    "id": lambda delivery: str(delivery.id),
    "owner": lambda delivery: delivery.endpoint.user.email,
    "url": lambda delivery: delivery.endpoint.url,
    "kind": lambda delivery: delivery.kind,
    "attempts": lambda delivery: delivery.attempts,
    "created_at": lambda delivery: delivery.created_at,
    "next_attempt_at": lambda delivery: delivery.next_attempt_at,
    "delivered_at": lambda delivery: delivery.delivered_at,
    "dead_at": lambda delivery: delivery.dead_at,
    "status": lambda delivery: delivery.status,
    "error": lambda delivery: delivery.error,
}


@blueprint.get("")
def listing() -> str | FlaskResponse:
    """List deliveries by state, permanently failed ones by default."""
    state = next((known for known in DeliveryState if known == request.args.get("state")), DeliveryState.DEAD)
    if list_export.is_wanted():
        return list_export.as_csv("webhooks", COLUMNS, deliveries.list_deliveries(state))
    page = deliveries.list_deliveries(state).page(context.session(), **page_slice(), count_to=LOG_COUNT)
    return render_template("admin/webhook_deliveries.html", page=page, state=state, states=list(DeliveryState))


@blueprint.post("/<uuid:delivery_id>/again")
def send_again(delivery_id: uuid.UUID) -> Response:
    """Resend a delivery that failed permanently."""
    with context.transaction() as session:
        is_on = deliveries.resend(session, delivery_id, actor=context.actor())
    if is_on:
        context.enqueue_job("jobs.webhooks.send_pending")
        flash(_("The event will be sent again."), "good")
    else:
        flash(_("The owner has to enable the webhook first."), "bad")
    return redirect(local_path(request.form.get("next"), url_for("admin_webhooks.listing")), 303)
