"""Admin lists of tokens, sessions and the audit log, as pages and as CSV."""

import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta

from flask import Response as FlaskResponse
from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models import clock, time_zones
from models.access_tokens import AccessToken, TokenState
from models.audit import AuditAction, AuditEntry
from models.proxy_sessions import ProxySession
from models.services.admin import lists as admin_lists
from models.services.audit import hash_chain
from models.services.audit import verification as chain_verification
from models.services.errors import NotFound
from models.services.gateway import sessions
from portal.documents import list_export
from portal.i18n import gettext as _
from portal.presentation.labels import RESOURCES
from portal.request import context
from portal.status import failed_requests
from portal.views.admin.dashboard import blueprint

TOKEN_COLUMNS: dict[str, Callable[[AccessToken], list_export.Cell]] = {
    "id": lambda token: str(token.id),
    "prefix": lambda token: token.prefix,
    "name": lambda token: token.name,
    "owner": lambda token: token.user.email,
    "state": lambda token: token.state(clock.now()).value,
    "scope": lambda token: token.scope,
    "duration_hours": lambda token: token.duration_hours,
    "price_paid": lambda token: token.price_paid,
    "created_at": lambda token: token.created_at,
    "activated_at": lambda token: token.activated_at,
    "expires_at": lambda token: token.expires_at,
}
SESSION_COLUMNS: dict[str, Callable[[ProxySession], list_export.Cell]] = {
    "id": lambda used: str(used.id),
    "owner": lambda used: used.user.email,
    "token": lambda used: used.token.prefix,
    "ip_address": lambda used: used.ip_address,
    "device": lambda used: used.device_id,
    "user_agent": lambda used: used.user_agent,
    "started_at": lambda used: used.started_at,
    "last_activity": lambda used: used.last_activity,
    "ended_at": lambda used: used.ended_at,
    "requests": lambda used: used.request_count,
    "bytes_in": lambda used: used.bytes_in,
    "bytes_out": lambda used: used.bytes_out,
}
AUDIT_COLUMNS: dict[str, Callable[[AuditEntry], list_export.Cell]] = {
    "id": lambda entry: entry.id,
    "created_at": lambda entry: entry.created_at,
    "action": lambda entry: entry.action.value,
    "actor": lambda entry: entry.actor.email if entry.actor else None,
    "user": lambda entry: entry.user.email if entry.user else None,
    "resource_type": lambda entry: entry.resource_type,
    "resource_id": lambda entry: str(entry.resource_id or ""),
    "ip_address": lambda entry: entry.ip_address,
    "user_agent": lambda entry: entry.user_agent,
    "request_id": lambda entry: entry.request_id,
    "origin": lambda entry: entry.origin.value if entry.origin else None,
    "details": lambda entry: str(entry.details),
}


@blueprint.get("/tokens")
def token_list() -> str | FlaskResponse:
    """List tokens; `q` is the prefix of a token, `owner` a part of an e-mail address or name."""
    prefix, owner = request.args.get("q", "")[:100], request.args.get("owner", "")[:100]
    state = next((known for known in TokenState if known == request.args.get("state")), None)
    user_id = request.args.get("user", type=uuid.UUID)
    listing = admin_lists.tokens(prefix=prefix, owner=owner, state=state, user_id=user_id)
    if list_export.is_wanted():
        return list_export.as_csv("tokens", TOKEN_COLUMNS, listing)
    facts = {"q": prefix, "owner": owner, "state": state, "states": list(TokenState), "user_id": user_id}
    return render_template("admin/tokens.html", page=list_export.page_of(listing), **facts)


@blueprint.get("/sessions")
def session_list() -> str | FlaskResponse:
    """List proxy sessions, all or only open ones."""
    open_only = request.args.get("open") == "1"
    listing = admin_lists.sessions(open_only=open_only, user_id=request.args.get("user", type=uuid.UUID))
    if list_export.is_wanted():
        return list_export.as_csv("sessions", SESSION_COLUMNS, listing)
    return render_template("admin/sessions.html", page=list_export.page_of(listing), open_only=open_only)


@blueprint.post("/sessions/<uuid:session_id>/cut")
def cut_session(session_id: uuid.UUID) -> Response:
    """End a session and its open transfers, at every worker within a second."""
    try:
        with context.transaction() as session:
            sessions.end_by_admin(session, session_id, context.actor())
    except NotFound:
        if sessions.exists(context.session(), session_id):
            flash(_("This session has already ended."), "info")
            return redirect(url_for("admin.session_list", open=1), 303)
        raise
    flash(_("The session has ended. Its open transfers stop within a second."), "good")
    return redirect(url_for("admin.session_list", open=1), 303)


@blueprint.get("/audit")
def audit_log() -> str | FlaskResponse:
    """List audit entries by action, user, actor, resource type, request and time."""
    wanted = admin_lists.AuditFilter(
        action=next((known for known in AuditAction if known == request.args.get("action")), None),
        user_id=request.args.get("user", type=uuid.UUID),
        actor_id=request.args.get("actor", type=uuid.UUID),
        resource=request.args.get("resource", "")[:64],
        request_id=request.args.get("request", "")[:64],
        since=_start_of_day(request.args.get("since", type=date.fromisoformat)),
        until=_start_of_day(request.args.get("until", type=date.fromisoformat), days=1),
    )
    listing = admin_lists.audit(wanted)
    if list_export.is_wanted():
        return list_export.as_csv("audit", AUDIT_COLUMNS, listing)
    page = list_export.page_of(listing)
    facts = {"wanted": wanted, "actions": list(AuditAction), "resources": RESOURCES, "args": request.args}
    return render_template(
        "admin/audit.html",
        page=page,
        asked=failed_requests.find(wanted.request_id) if wanted.request_id else None,
        standing=hash_chain.status(context.session()),
        check=chain_verification.last_check(context.session()),
        **facts,
    )


def _start_of_day(day: date | None, *, days: int = 0) -> datetime | None:
    """Return the start of a day, plus `days`, in the reader's time zone; None for years that are out of range."""
    if day is None or day.year not in range(1970, 9999):
        return None
    return time_zones.start_of(day + timedelta(days=days), context.zone())
