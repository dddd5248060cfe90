"""Webhooks of the user: add, change, test, and the delivery log."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.notification_preferences import Topic
from models.services.errors import InvalidInput
from models.services.webhooks import deliveries
from models.services.webhooks import endpoints as webhook_endpoints
from models.webhooks import WebhookEndpoint
from portal.forms.base import SeenForm
from portal.forms.domain_errors import flashed_errors, form_errors
from portal.forms.webhooks import EndpointForm, NewEndpointForm
from portal.i18n import gettext as _
from portal.presentation import confirmation
from portal.request import auth, context
from portal.request.pagination import page_slice

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")
blueprint.before_request(auth.require_login)


@blueprint.get("")
def listing() -> str:
    """List the user's webhooks, with the form for a new one."""
    form = NewEndpointForm(data={"endpoint_id": uuid.uuid4()})
    return _listing(form, {topic.value for topic in Topic})


@blueprint.post("")
def create() -> str | Response | tuple[str, int]:
    """Add a webhook and show its secret once."""
    form, topics = NewEndpointForm(request.form), set(request.form.getlist("topic"))
    if not _is_valid(form, topics):
        return _listing(form, topics), 400
    with form_errors(form) as result, context.transaction() as session:
        made = webhook_endpoints.create(
            session,
            context.user(),
            form.endpoint_id.data or uuid.uuid4(),
            url=str(form.url.data),
            topics=topics,
            settings=context.settings(),
            actor=context.actor(),
        )
    if not result.is_done:
        return _listing(form, topics), result.status
    if made is None:
        flash(_("This webhook already exists; its secret was shown once."), "info")
        return _to_detail(uuid.UUID(str(form.endpoint_id.data)))
    context.enqueue_job("jobs.webhooks.check_address", str(made[0].id))
    return render_template("webhooks/secret.html", endpoint=made[0], secret=made[1])


@blueprint.get("/<uuid:endpoint_id>")
def detail(endpoint_id: uuid.UUID) -> str:
    """Show a webhook with its delivery log."""
    endpoint = _require_owned(endpoint_id)
    return _detail(endpoint, EndpointForm(data={"url": endpoint.url}), set(endpoint.topics))


@blueprint.post("/<uuid:endpoint_id>")
def change(endpoint_id: uuid.UUID) -> str | Response | tuple[str, int]:
    """Change the address or topics of a webhook."""
    endpoint, form, topics = _require_owned(endpoint_id), EndpointForm(request.form), set(request.form.getlist("topic"))
    if _is_valid(form, topics):
        with form_errors(form) as result, context.transaction() as session:
            webhook_endpoints.change(
                session,
                endpoint,
                url=str(form.url.data),
                topics=topics,
                settings=context.settings(),
                actor=context.actor(),
            )
        if result.is_done:
            context.enqueue_job("jobs.webhooks.check_address", str(endpoint_id))
            flash(_("Webhook updated."), "good")
            return _to_detail(endpoint_id)
    return _detail(_require_owned(endpoint_id), form, topics), 400


@blueprint.post("/<uuid:endpoint_id>/switch")
def switch(endpoint_id: uuid.UUID) -> Response:
    """Enable or disable a webhook."""
    on = request.form.get("on") == "1"
    with context.transaction() as session:
        webhook_endpoints.set_enabled(session, _require_owned(endpoint_id), on=on, actor=context.actor())
    flash(_("Webhook enabled.") if on else _("Webhook disabled."), "good")
    return _to_detail(endpoint_id)


@blueprint.post("/<uuid:endpoint_id>/test")
def test(endpoint_id: uuid.UUID) -> Response:
    """Enqueue a test event, whether the webhook is enabled or not."""
    with context.transaction() as session:
        deliveries.enqueue_test(session, _require_owned(endpoint_id))
    context.enqueue_job("jobs.webhooks.send_pending")
    flash(_("A test event has been queued. Its result will appear in the list below."), "info")
    return _to_detail(endpoint_id)


@blueprint.get("/<uuid:endpoint_id>/secret")
def confirm_replace_secret(endpoint_id: uuid.UUID) -> str:
    """Ask for confirmation before a webhook's secret is rotated."""
    endpoint = _require_owned(endpoint_id)
    return confirmation.ask(
        _("Rotate the secret?"),
        [
            _(
                "A new secret replaces the old one immediately: update it in your program, which rejects our"
                " requests until then."
            )
        ],
        about=endpoint.url,
        action=url_for("webhooks.replace_secret", endpoint_id=endpoint_id),
        button=_("Rotate secret"),
        back=url_for("webhooks.detail", endpoint_id=endpoint_id),
        hidden={"seen": endpoint.generation},
    )


@blueprint.post("/<uuid:endpoint_id>/secret")
def replace_secret(endpoint_id: uuid.UUID) -> str | Response:
    """Rotate a webhook's secret and show it once; a form submitted twice rotates once."""
    endpoint, form = _require_owned(endpoint_id), SeenForm(request.form)
    seen = (form.seen.data if form.validate() else None) or 0
    with flashed_errors(category="info") as result, context.transaction() as session:
        secret = webhook_endpoints.replace_secret(
            session, endpoint, seen=seen, settings=context.settings(), actor=context.actor()
        )
    if not result.is_done:
        return _to_detail(endpoint_id)
    return render_template("webhooks/secret.html", endpoint=endpoint, secret=secret)


@blueprint.get("/<uuid:endpoint_id>/remove")
def confirm_remove(endpoint_id: uuid.UUID) -> str:
    """Ask for confirmation before a webhook is deleted."""
    endpoint = _require_owned(endpoint_id)
    return confirmation.ask(
        _("Delete this webhook?"),
        [_("Its secret and delivery log are deleted too. This cannot be undone.")],
        about=endpoint.url,
        action=url_for("webhooks.remove", endpoint_id=endpoint_id),
        button=_("Delete webhook"),
        back=url_for("webhooks.detail", endpoint_id=endpoint_id),
    )


@blueprint.post("/<uuid:endpoint_id>/remove")
def remove(endpoint_id: uuid.UUID) -> Response:
    """Delete a webhook and its delivery log."""
    with context.transaction() as session:
        webhook_endpoints.remove(session, _require_owned(endpoint_id), actor=context.actor())
    flash(_("Webhook deleted."), "good")
    return redirect(url_for("webhooks.listing"), 303)


@blueprint.post("/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>/again")
def send_again(endpoint_id: uuid.UUID, delivery_id: uuid.UUID) -> Response:
    """Resend a delivery that failed permanently."""
    endpoint = _require_owned(endpoint_id)
    with context.transaction() as session:
        is_on = deliveries.resend(session, delivery_id, endpoint_id=endpoint.id, actor=context.actor())
    if is_on:
        context.enqueue_job("jobs.webhooks.send_pending")
        flash(_("The event will be sent again."), "good")
    else:
        flash(_("Enable the webhook first."), "bad")
    return _to_detail(endpoint_id)


def _is_valid(form: EndpointForm, topics: set[str]) -> bool:
    """Check the address and the topics, so that both errors are shown at once."""
    is_fit = form.validate()
    try:
        webhook_endpoints.validate_topics(topics)
    except InvalidInput as error:
        form.add_error(error)
        return False
    return is_fit


def _require_owned(endpoint_id: uuid.UUID) -> WebhookEndpoint:
    return webhook_endpoints.require_owned(context.session(), context.user(), endpoint_id)


def _to_detail(endpoint_id: uuid.UUID) -> Response:
    return redirect(url_for("webhooks.detail", endpoint_id=endpoint_id), 303)


def _listing(form: NewEndpointForm, chosen: set[str]) -> str:
    endpoints = webhook_endpoints.of_user(context.session(), context.user().id)
    return render_template(
        "webhooks/list.html",
        endpoints=endpoints,
        form=form,
        chosen=chosen,
        topics=list(Topic),
        is_full=len(endpoints) >= webhook_endpoints.MAX_ENDPOINTS,
    )


def _detail(endpoint: WebhookEndpoint, form: EndpointForm, chosen: set[str]) -> str:
    dead_only = request.args.get("show") == "dead"
    page = deliveries.of_endpoint(context.session(), endpoint.id, dead_only=dead_only, **page_slice())
    return render_template(
        "webhooks/detail.html",
        endpoint=endpoint,
        form=form,
        chosen=chosen,
        topics=list(Topic),
        page=page,
        dead_only=dead_only,
    )
