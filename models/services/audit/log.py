"""Write and read the audit log."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from models.audit import AuditAction, AuditEntry
from models.services.actor import Actor
from models.services.pagination import Page, fetch_page


def record(
    session: Session,
    action: AuditAction,
    actor: Actor,
    *,
    user_id: uuid.UUID | None,
    resource: tuple[str, uuid.UUID | None],
    **details: Any,
) -> None:
    """Add one row in the caller's transaction. `user_id` is the affected user; `details` must be JSON."""
    resource_type, resource_id = resource
    session.add(
        AuditEntry(
            action=action,
            actor_id=actor.user_id,
            user_id=user_id,
            resource_type=resource_type,
            resource_id=resource_id,
            ip_address=(actor.ip_address or "")[:45] or None,
            user_agent=(actor.user_agent or "")[:300] or None,
            request_id=(actor.request_id or "")[:64] or None,
            origin=actor.origin,
            details=details,
        )
    )


def entries(
    session: Session,
    *,
    limit: int,
    offset: int,
    user_id: uuid.UUID | None = None,
    action: AuditAction | None = None,
    resource_type: str | None = None,
) -> Page[AuditEntry]:
    """Return a page of the log, newest first."""
    query = select(AuditEntry).options(joinedload(AuditEntry.actor), joinedload(AuditEntry.user))
    if user_id is not None:
        query = query.where(AuditEntry.user_id == user_id)
    if action is not None:
        query = query.where(AuditEntry.action == action)
    if resource_type is not None:
        query = query.where(AuditEntry.resource_type == resource_type)
    return fetch_page(session, query, order=(AuditEntry.id.desc(),), limit=limit, offset=offset)
