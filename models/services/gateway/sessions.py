"""Proxy sessions: activation on first use, the device lock, release, and closing idle ones."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select, true, update
from sqlalchemy.orm import Session, joinedload

from models import clock
from models.access_tokens import AccessToken, TokenState, ended_by
from models.audit import AuditAction
from models.config.server import Sessions as SessionRules
from models.proxy_sessions import ProxySession
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import DeviceConflict, NotFound, TokenUnusable
from models.services.gateway import invalidation
from models.services.pagination import Page, fetch_page
from models.services.tokens import queries as token_queries
from models.users import User

# One run of the job closes so many sessions; the next run goes on.
CLOSE_BATCH_SIZE = 5000


def device_locked_for(
    session: Session, token_id: uuid.UUID, *, device: str | None, rules: SessionRules
) -> timedelta | None:
    """Return how much longer another device holds a token at least, so that `begin` would refuse this one; or None."""
    holder = session.scalars(
        select(ProxySession).where(ProxySession.token_id == token_id, ProxySession.ended_at.is_(None))
    ).one_or_none()
    if holder is None or rules.device_policy == "off" or holder.device_id in {None, device}:
        return None
    return _idle_in(holder, rules, clock.now())


def _idle_in(holder: ProxySession, rules: SessionRules, moment: datetime) -> timedelta | None:
    """Return after how long a session that stays silent lets another device in; None when that time is over."""
    left = holder.last_activity + timedelta(seconds=rules.device_idle_seconds) - moment
    return left if left > timedelta() else None


def start_session(
    session: Session, token_id: uuid.UUID, *, device: str | None, rules: SessionRules, actor: Actor
) -> ProxySession:
    """Let a device use a token: activate the token if this is its first use, and join or open its session.

    All in the caller's one transaction, under the token's row lock, so that of two devices at the same instant one
    wins. Raises TokenUnusable when the token ended meanwhile, DeviceConflict when another device holds it.
    """
    moment = clock.now()
    token, owner = session.execute(
        select(AccessToken, User)
        .join(User, User.id == AccessToken.user_id)
        .where(AccessToken.id == token_id)
        .with_for_update(of=AccessToken)
        .execution_options(populate_existing=True)
    ).one()
    state = token.state(token_queries.accounting_time(session, token))
    if state not in {TokenState.READY, TokenState.ACTIVE}:
        raise TokenUnusable(state)
    if not owner.is_active:
        raise TokenUnusable("disabled")
    if token.activated_at is None:
        # Nobody can hold a session of a token that was never used, so one is opened below, and announced.
        token.activated_at = moment
        audit_log.record(
            session, AuditAction.TOKEN_ACTIVATED, actor, user_id=token.user_id, resource=("token", token.id)
        )
    held = session.scalars(
        select(ProxySession).where(ProxySession.token_id == token_id, ProxySession.ended_at.is_(None))
    ).one_or_none()
    if held is None:
        return _open(session, token, device, moment=moment, actor=actor, action=AuditAction.SESSION_OPENED)
    if rules.device_policy == "off" or held.device_id == device:
        return held
    if held.device_id is None:
        # A session opened without a device belongs to the first device seen.
        held.device_id = device
        invalidation.invalidate_token(session, token_id)
        return held
    if (left := _idle_in(held, rules, moment)) is not None:
        raise DeviceConflict(left)
    held.ended_at = moment
    session.flush()
    return _open(session, token, device, moment=moment, actor=actor, action=AuditAction.SESSION_TAKEN_OVER)


def _open(
    session: Session, token: AccessToken, device: str | None, *, moment: datetime, actor: Actor, action: AuditAction
) -> ProxySession:
    opened = ProxySession(
        user_id=token.user_id,
        token_id=token.id,
        device_id=device,
        ip_address=(actor.ip_address or "")[:45],
        user_agent=(actor.user_agent or "")[:300],
        started_at=moment,
        last_activity=moment,
        request_count=0,
        bytes_in=0,
        bytes_out=0,
    )
    session.add(opened)
    session.flush()
    invalidation.invalidate_token(session, token.id)
    audit_log.record(session, action, actor, user_id=token.user_id, resource=("session", opened.id), token=token.prefix)
    return opened


def close_idle_sessions(session: Session, rules: SessionRules) -> int:
    """Close sessions without activity for `close_idle_seconds`; returns how many were closed."""
    moment = clock.now()
    idle_since = moment - timedelta(seconds=rules.close_idle_seconds)
    return _close(session, ProxySession.last_activity < idle_since, moment)


def close_sessions_of_ended_tokens(session: Session) -> int:
    """Close sessions whose token was revoked or has expired; returns how many were closed."""
    moment = clock.now()
    ended = select(AccessToken.id).where(AccessToken.revoked_at.is_not(None) | ended_by(moment))
    return _close(session, ProxySession.token_id.in_(ended), moment)


def _close(session: Session, which: ColumnElement[bool], moment: datetime) -> int:
    # Token before session, as everywhere: two orders would be a deadlock. A token that is being used just now is
    # left for the next time.
    due = session.scalars(
        select(AccessToken.id)
        .join(ProxySession, ProxySession.token_id == AccessToken.id)
        .where(ProxySession.ended_at.is_(None), which)
        .order_by(AccessToken.id)
        .limit(CLOSE_BATCH_SIZE)
        .with_for_update(of=AccessToken, skip_locked=True)
    ).all()
    # In the order in which workers take them (counting.py), for the same reason.
    held = select(ProxySession.id).where(ProxySession.token_id.in_(due), ProxySession.ended_at.is_(None), which)
    held = held.order_by(ProxySession.id).with_for_update(key_share=True)
    closed = session.scalars(
        update(ProxySession)
        .where(ProxySession.id.in_(session.scalars(held).all()))
        .values(ended_at=moment)
        .returning(ProxySession.token_id)
        .execution_options(synchronize_session=False)
    ).all()
    for token_id in closed:
        invalidation.invalidate_token(session, token_id)
    return len(closed)


def release(session: Session, owner: User, session_id: uuid.UUID, actor: Actor) -> ProxySession:
    """End the owner's open session, so that another device may use the token. Raises NotFound."""
    return _end_one(session, ProxySession.user_id == owner.id, session_id, AuditAction.SESSION_RELEASED, actor)


def end_by_admin(session: Session, session_id: uuid.UUID, actor: Actor) -> ProxySession:
    """End anybody's open session, as an admin; workers cut what is under way in it. Raises NotFound."""
    return _end_one(session, true(), session_id, AuditAction.SESSION_CUT, actor)


def exists(session: Session, session_id: uuid.UUID, *, token_id: uuid.UUID | None = None) -> bool:
    """Return whether there is such a session, of this token or of any, open or not."""
    found = session.get(ProxySession, session_id)
    return found is not None and token_id in {None, found.token_id}


def _end_one(
    session: Session, whose: ColumnElement[bool], session_id: uuid.UUID, action: AuditAction, actor: Actor
) -> ProxySession:
    held = session.scalars(select(ProxySession).where(ProxySession.id == session_id, whose)).one_or_none()
    if held is None:
        raise NotFound("session")
    # The announcement takes the token's row lock, and only then is the session ended: token before session.
    invalidation.invalidate_token(session, held.token_id)
    ended = session.scalar(
        update(ProxySession)
        .where(ProxySession.id == session_id, ProxySession.ended_at.is_(None))
        .values(ended_at=clock.now())
        .returning(ProxySession.id)
    )
    if ended is None:
        raise NotFound("session")
    audit_log.record(session, action, actor, user_id=held.user_id, resource=("session", held.id))
    return held


def list_sessions(
    session: Session,
    *,
    limit: int,
    offset: int,
    user_id: uuid.UUID | None = None,
    token_id: uuid.UUID | None = None,
    open_only: bool = False,
) -> Page[ProxySession]:
    """Return a page of sessions with owner and token, newest first."""
    query = select(ProxySession).options(joinedload(ProxySession.user), joinedload(ProxySession.token))
    if user_id is not None:
        query = query.where(ProxySession.user_id == user_id)
    if token_id is not None:
        query = query.where(ProxySession.token_id == token_id)
    if open_only:
        query = query.where(ProxySession.ended_at.is_(None))
    return fetch_page(
        session, query, order=(ProxySession.started_at.desc(), ProxySession.id), limit=limit, offset=offset
    )
