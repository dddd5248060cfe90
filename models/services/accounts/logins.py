"""Login sessions: begin, look up, end. Every request with a cookie or API token looks up its row here."""

import uuid
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.orm import Session, contains_eager

from models import clock
from models.audit import AuditAction
from models.logins import Login, LoginKind
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound
from models.services.pagination import Page, fetch_page
from models.users import User

# The last use of a login is written at most this often, so that reading pages writes almost nothing.
TOUCH_EVERY = timedelta(minutes=5)


def begin(session: Session, user: User, *, kind: LoginKind, lifetime: timedelta, actor: Actor) -> Login:
    """Create a login session for an authenticated user; its id goes into the signed cookie or token."""
    moment = clock.now()
    login = Login(
        user=user,
        kind=kind,
        password_version=user.password_version,
        created_at=moment,
        last_seen_at=moment,
        expires_at=moment + lifetime,
        **_origin_details(actor),
    )
    session.add(login)
    session.flush()
    who = replace(actor, user_id=user.id)
    audit_log.record(session, AuditAction.USER_LOGGED_IN, who, user_id=user.id, resource=("login", login.id), kind=kind)
    return login


def find_active(session: Session, login_id: uuid.UUID, *, kind: LoginKind) -> Login | None:
    """Return an active login with its user; None for one that has ended."""
    return session.scalars(
        select(Login)
        .join(Login.user)
        .options(contains_eager(Login.user))
        .where(
            Login.id == login_id,
            Login.kind == kind,
            _is_open(),
            User.is_active,
            User.password_version == Login.password_version,
        )
    ).one_or_none()


def is_stale(login: Login) -> bool:
    """Return whether the last use of a login should be written again."""
    return clock.now() - login.last_seen_at >= TOUCH_EVERY


def touch(session: Session, login: Login, *, actor: Actor, lifetime: timedelta | None = None) -> None:
    """Store when and from where a login was last used; check `is_stale` first.

    With a `lifetime` its expiry moves; without one it stays.
    """
    moment = clock.now()
    expires_at = login.expires_at if lifetime is None else moment + lifetime
    # Race: the login ends concurrently. A login that has ended is not written, and so not revived.
    session.execute(
        update(Login)
        .where(Login.id == login.id, _is_open())
        .values(last_seen_at=moment, expires_at=expires_at, **_origin_details(actor))
    )


def end(session: Session, user: User, login_id: uuid.UUID, *, actor: Actor) -> None:
    """End one of the user's logins; a second call changes nothing. Raises NotFound for another user's login."""
    if session.scalar(select(Login.id).where(Login.id == login_id, Login.user_id == user.id)) is None:
        raise NotFound("login")
    if _end(session, user.id, Login.id == login_id):
        audit_log.record(session, AuditAction.USER_LOGGED_OUT, actor, user_id=user.id, resource=("login", login_id))


def end_others(session: Session, user_id: uuid.UUID, *, keep: uuid.UUID, actor: Actor) -> int:
    """End every login of a user but one; return the number ended."""
    return _end_recorded(session, user_id, Login.id != keep, actor=actor)


def end_all(session: Session, user_id: uuid.UUID, *, actor: Actor) -> int:
    """End every login of a user; return the number ended."""
    return _end_recorded(session, user_id, actor=actor)


def of_user(session: Session, user_id: uuid.UUID, *, limit: int, offset: int) -> Page[Login]:
    """Return a page of a user's active logins, last used first."""
    query = select(Login).where(Login.user_id == user_id, _is_open())
    return fetch_page(session, query, order=(Login.last_seen_at.desc(), Login.id), limit=limit, offset=offset)


def delete_ended(session: Session) -> int:
    """Delete expired and ended logins; return the number deleted."""
    gone = session.scalars(delete(Login).where(Login.expires_at <= clock.now()).returning(Login.id))
    return len(gone.all())


def _is_open() -> ColumnElement[bool]:
    return and_(Login.ended_at.is_(None), Login.expires_at > clock.now())


def _end(session: Session, user_id: uuid.UUID, *which: ColumnElement[bool]) -> int:
    ended = session.scalars(
        update(Login)
        .where(Login.user_id == user_id, _is_open(), *which)
        .values(ended_at=clock.now())
        .returning(Login.id)
    )
    return len(ended.all())


def _end_recorded(session: Session, user_id: uuid.UUID, *which: ColumnElement[bool], actor: Actor) -> int:
    count = _end(session, user_id, *which)
    if count:
        action = AuditAction.USER_LOGINS_ENDED
        audit_log.record(session, action, actor, user_id=user_id, resource=("user", user_id), count=count)
    return count


def _origin_details(actor: Actor) -> dict[str, str | None]:
    return {"ip_address": (actor.ip_address or "")[:45] or None, "user_agent": (actor.user_agent or "")[:300]}
