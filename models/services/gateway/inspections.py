"""Inspections: traffic captures that an admin starts for a limited time.

Start and early end notify the workers in the transaction (models/services/gateway/invalidation.py), which then read the
active inspections again. A planned end needs no notification: workers know `ends_at`.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, joinedload

from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.config.operations import Inspection as Rules
from models.inspections import Inspection, InspectionTarget
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.crypto import secrets
from models.services.errors import InvalidInput, NotFound
from models.services.gateway import request_paths
from models.services.gateway.invalidation import CHANNEL
from models.services.pagination import ListQuery
from models.users import User

# Every request is compared with each active inspection.
MAX_ACTIVE = 20
# Starts are serialized, so that the limit holds.
_LOCK = 7_401_994


@dataclass(frozen=True, slots=True)
class ActiveInspection:
    """A running inspection, as a worker sees it."""

    target: InspectionTarget
    subject: uuid.UUID | bytes | None
    ends_at: datetime


def start(
    session: Session, *, target: InspectionTarget, name: str, minutes: int, reason: str, rules: Rules, actor: Actor
) -> Inspection:
    """Start an inspection; `name` is a path prefix, a token's prefix or id, or a user's e-mail address, name or id.

    Raises InvalidInput.
    """
    if actor.user_id is None:
        raise ValueError("an inspection needs an admin as actor")
    if not 1 <= minutes <= rules.at_most_minutes:
        raise InvalidInput("minutes", "inspection_duration_unavailable")
    reason = text_validation.one_line(reason, field="reason", at_least=3, at_most=200)
    now = clock.now()
    found = Inspection(
        target=target,
        reason=reason,
        started_at=now,
        started_by_id=actor.user_id,
        ends_at=now + timedelta(minutes=minutes),
        **_subject(session, target, text_validation.one_line(name, field="name", at_most=200)),
    )
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if (session.scalar(select(func.count()).select_from(Inspection).where(_is_running())) or 0) >= MAX_ACTIVE:
        raise InvalidInput("target", "inspection_limit_reached")
    session.add(found)
    session.flush()
    _notify_workers(session)
    facts = {"target": target.value, "path": found.path, "minutes": minutes, "reason": reason}
    _record(session, AuditAction.INSPECTION_STARTED, found, actor, **facts)
    return found


def end(session: Session, inspection_id: uuid.UUID, *, actor: Actor) -> Inspection:
    """End an inspection; an ended one is unchanged. Raises NotFound."""
    found = session.get(Inspection, inspection_id, with_for_update=True)
    if found is None:
        raise NotFound("inspection")
    if found.is_running(clock.now()):
        found.ended_at, found.ended_by_id = clock.now(), actor.user_id
        session.flush()
        _notify_workers(session)
        _record(session, AuditAction.INSPECTION_ENDED, found, actor)
    return found


def load_active(session: Session) -> list[ActiveInspection]:
    """Return the active inspections for the proxy workers."""
    found = session.scalars(select(Inspection).where(_is_running()).order_by(Inspection.ends_at).limit(MAX_ACTIVE))
    return [
        ActiveInspection(
            each.target, each.token_id or each.user_id or (each.path.encode() if each.path else None), each.ends_at
        )
        for each in found
    ]


def list_active(session: Session) -> Sequence[Inspection]:
    """Return the active inspections with token and users loaded, the next to end first, for the admin dashboard."""
    query = list_inspections(running_only=True).query
    return session.scalars(query.order_by(Inspection.ends_at, Inspection.id).limit(MAX_ACTIVE)).all()


def list_inspections(*, running_only: bool = False) -> ListQuery[Inspection]:
    """Return inspections with token, user and admins loaded, newest first."""
    query = select(Inspection).options(
        joinedload(Inspection.token).joinedload(AccessToken.user),
        joinedload(Inspection.user),
        joinedload(Inspection.started_by),
        joinedload(Inspection.ended_by),
    )
    if running_only:
        query = query.where(_is_running())
    return ListQuery(query, (Inspection.started_at.desc(), Inspection.id))


def _is_running() -> ColumnElement[bool]:
    return Inspection.ended_at.is_(None) & (Inspection.ends_at > clock.now())


def _subject(session: Session, target: InspectionTarget, name: str) -> dict[str, object]:
    """Return the column values for the inspected path, token or user. Raises InvalidInput."""
    match target:
        case InspectionTarget.EVERYTHING:
            return {}
        case InspectionTarget.PATH:
            raw = name.encode("ascii", "replace")
            if not name.startswith("/") or not name.isascii() or request_paths.path_fault(raw):
                raise InvalidInput("name", "path_prefix_malformed")
            return {"path": name}
        case InspectionTarget.TOKEN:
            prefix = name.rstrip("…")[: secrets.PREFIX_LENGTH]
            tokens = session.scalars(_tokens(name, prefix).limit(2)).all()
            if len(tokens) > 1:
                raise InvalidInput("name", "token_prefix_ambiguous")
            return {"token_id": _only(tokens, "token_not_found")}
        case InspectionTarget.USER:
            lower = name.lower()
            users = select(User.id).where(or_(func.lower(User.email) == lower, func.lower(User.username) == lower))
            if (user_id := _as_id(name)) is not None:
                users = select(User.id).where(User.id == user_id)
            return {"user_id": _only(session.scalars(users.limit(1)).all(), "user_not_found")}


def _tokens(name: str, prefix: str) -> Select[uuid.UUID]:
    token_id = _as_id(name)
    if token_id is not None:
        return select(AccessToken.id).where(AccessToken.id == token_id)
    return select(AccessToken.id).where(AccessToken.prefix == prefix)


def _only(found: Sequence[uuid.UUID], code: str) -> uuid.UUID:
    if not found:
        raise InvalidInput("name", code)
    return found[0]


def _as_id(name: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(name)
    except ValueError:
        return None


def _notify_workers(session: Session) -> None:
    session.execute(select(func.pg_notify(CHANNEL, json.dumps({"inspections": True}))))


def _record(session: Session, action: AuditAction, found: Inspection, actor: Actor, **facts: object) -> None:
    """Write the audit entry, with the inspected user where the target is one user or one token."""
    owner = session.get_one(AccessToken, found.token_id).user_id if found.token_id else found.user_id
    audit_log.record(session, action, actor, user_id=owner, resource=("inspection", found.id), **facts)
