"""Impersonation ("view as user"): an admin sees the portal as a user for 15 minutes, read-only."""

import uuid
from datetime import timedelta

from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.logins import Login
from models.services import text_validation
from models.services.accounts import users
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import ImpersonationNotAllowed
from models.services.notifications import outbox
from models.users import User

LASTS = timedelta(minutes=15)


def begin(session: Session, login: Login, user_id: uuid.UUID, *, reason: str, actor: Actor) -> User:
    """Let an admin's login show a user's portal; the user is notified.

    Raises NotFound, InvalidInput for a bad reason, ImpersonationNotAllowed for another admin.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=3, at_most=200)
    user = users.by_id(session, user_id)
    if not _may_view(login.user, user):
        raise ImpersonationNotAllowed
    login.viewed_user, login.viewed_until = user, clock.now() + LASTS
    session.flush()
    audit_log.record(
        session, AuditAction.USER_VIEWED, actor, user_id=user.id, resource=("user", user.id), reason=reason
    )
    key = f"viewed:{login.id}:{clock.now().timestamp():.0f}"
    facts = {"username": user.username, "reason": reason}
    outbox.enqueue_mail(session, "viewed", user, dedup_key=key, minutes=int(LASTS.total_seconds() // 60), **facts)
    return user


def impersonated_user(login: Login) -> User | None:
    """Return the user whom this login impersonates now, or None."""
    if login.viewed_until is None or login.viewed_until <= clock.now() or login.viewed_user is None:
        return None
    return login.viewed_user if _may_view(login.user, login.viewed_user) else None


def end(session: Session, login: Login) -> None:
    """End the impersonation."""
    login.viewed_user = login.viewed_until = None
    session.flush()


def _may_view(admin: User, user: User) -> bool:
    """Return whether an admin may impersonate a user; checked at each request, as both may change."""
    return admin.is_superuser and not user.is_superuser and user.deleted_at is None
