"""Admin page for background jobs: queues, workers and failed jobs, which can be retried or removed."""

from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from redis import Redis
from werkzeug.wrappers import Response

from jobs import queues
from jobs.queues import QueueDown
from models.audit import AuditAction
from models.services.audit import log as audit_log
from portal.i18n import gettext as _
from portal.request import auth, context
from portal.status import components

blueprint = Blueprint("admin_jobs", __name__, url_prefix="/admin/jobs")
blueprint.before_request(auth.require_admin)


@blueprint.get("")
def overview() -> str:
    """Show queues, workers and failed jobs, or a message while Redis is down."""
    try:
        work, failed = queues.queue_status(components.redis()), queues.failed_jobs(components.redis())
    except QueueDown:
        return render_template("admin/jobs.html", work=None, failed=[])
    return render_template("admin/jobs.html", work=work, failed=failed, slow_queue=queues.SLOW_QUEUE)


@blueprint.post("/again")
def run_again() -> Response:
    """Requeue a failed job; every job is idempotent."""
    return _change(queues.retry, _("The job has been queued again."), "again")


@blueprint.post("/remove")
def remove() -> Response:
    """Remove a failed job."""
    return _change(queues.remove, _("The job has been removed."), "removed")


def _change(act: Callable[[Redis, str], str | None], said: str, what: str) -> Response:
    try:
        name = act(components.redis(), request.form.get("job", "")[:100])
    except QueueDown:
        flash(_("Redis is not responding. Please try again later."), "bad")
        return redirect(url_for("admin_jobs.overview"), 303)
    if name is None:
        flash(_("This job no longer exists."), "info")
        return redirect(url_for("admin_jobs.overview"), 303)
    with context.transaction() as session:
        actor = context.actor()
        facts = {"job": name, "what": what}
        resource = ("job", None)
        audit_log.record(session, AuditAction.JOB_CHANGED, actor, user_id=actor.user_id, resource=resource, **facts)
    flash(said, "good")
    return redirect(url_for("admin_jobs.overview"), 303)
