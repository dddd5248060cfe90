"""Roles: enable and disable users, promote and demote admins."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.services.accounts import logins, users
from models.services.actor import OPERATOR, Actor
from models.services.audit import log as audit_log
from models.services.errors import LastSuperuser, NotFound
from models.services.gateway import invalidation
from models.users import User


def set_superuser(session: Session, user_id: uuid.UUID, *, superuser: bool, actor: Actor) -> User:
    """Grant or remove the admin role. Raises NotFound, LastSuperuser."""
    admins, user = locked_admins(session), _locked(session, user_id)
    if superuser and user.deleted_at is not None:
        raise NotFound("user")
    if not superuser and admins == [user.id]:
        raise LastSuperuser
    if user.is_superuser != superuser:
        user.is_superuser = superuser
        session.flush()
        action = AuditAction.USER_PROMOTED if superuser else AuditAction.USER_DEMOTED
        audit_log.record(session, action, actor, user_id=user.id, resource=("user", user.id))
    return user


def set_active(session: Session, user_id: uuid.UUID, *, active: bool, actor: Actor) -> User:
    """Enable or disable a user; a disabled user's tokens are refused at once. Raises NotFound, LastSuperuser."""
    admins, user = locked_admins(session), _locked(session, user_id)
    if active and user.deleted_at is not None:
        raise NotFound("user")
    if not active and admins == [user.id]:
        raise LastSuperuser
    if user.is_active != active:
        user.is_active = active
        invalidation.invalidate_tokens_of_user(session, user.id)
        if not active:
            logins.end_all(session, user.id, actor=actor)
        action = AuditAction.USER_ENABLED if active else AuditAction.USER_DISABLED
        audit_log.record(session, action, actor, user_id=user.id, resource=("user", user.id))
    return user


def locked_admins(session: Session) -> list[uuid.UUID]:
    """Lock all admins in one order, so that two of them cannot demote each other concurrently."""
    query = select(User.id).where(User.is_superuser, User.is_active).order_by(User.id)
    return list(session.scalars(query.with_for_update(key_share=True)))


def _locked(session: Session, user_id: uuid.UUID) -> User:
    """Lock a user and return the row as it is in the database now. Raises NotFound."""
    user = session.get(User, user_id, with_for_update={"key_share": True}, populate_existing=True)
    if user is None:
        raise NotFound("user")
    return user


def active_admins(session: Session) -> list[User]:
    """Return all active admins."""
    return list(session.scalars(select(User).where(User.is_superuser, User.is_active).order_by(User.created_at)))


def first_admin(session: Session) -> User | None:
    """Return the oldest active admin, if there is one."""
    return session.scalars(
        select(User).where(User.is_superuser, User.is_active).order_by(User.created_at, User.id).limit(1)
    ).one_or_none()


def create_first_admin(session: Session, *, email: str, password: str) -> User:
    """Create the first admin of a new installation."""
    return users.register(session, email=email, username="admin", password=password, actor=OPERATOR, is_superuser=True)
