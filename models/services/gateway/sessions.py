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

# Sessions closed by one run of the job; the next run continues.
CLOSE_BATCH_SIZE = 5000


def device_locked_for(
    session: Session, token_id: uuid.UUID, *, device: str | None, rules: SessionRules
) -> timedelta | None:
    """Return the minimum time for which another device still locks the token, so that `begin` would refuse; or None."""
    holder = session.scalars(
        select(ProxySession).where(ProxySession.token_id == token_id, ProxySession.ended_at.is_(None))
    ).one_or_none()
    if holder is None or rules.device_policy == "off" or holder.device_id in {None, device}:
        return None
    return _idle_in(holder, rules, clock.now())


def _idle_in(holder: ProxySession, rules: SessionRules, moment: datetime) -> timedelta | None:
    """Return the time until an idle session loses its device lock; None when it has lost it."""
    left = holder.last_activity + timedelta(seconds=rules.device_idle_seconds) - moment
    return left if left > timedelta() else None


def start_session(
    session: Session, token_id: uuid.UUID, *, device: str | None, rules: SessionRules, actor: Actor
) -> ProxySession:
    """Let a device use a token: activate the token if this is its first use, and join or open its session.

    All in the caller's transaction and under the token's row lock, so that of two concurrent devices one
    wins. Raises TokenUnusable when the token ended meanwhile, DeviceConflict when it is locked to another device.
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
        # A token that was never used has no session, so one is opened below, and the token is invalidated.
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
    """Close sessions without activity for `close_idle_seconds`; return how many."""
    moment = clock.now()
    idle_since = moment - timedelta(seconds=rules.close_idle_seconds)
    return _close(session, ProxySession.last_activity < idle_since, moment)


def close_sessions_of_ended_tokens(session: Session) -> int:
    """Close sessions whose token was revoked or has expired; return how many."""
    moment = clock.now()
    ended = select(AccessToken.id).where(AccessToken.revoked_at.is_not(None) | ended_by(moment))
    return _close(session, ProxySession.token_id.in_(ended), moment)


def _close(session: Session, which: ColumnElement[bool], moment: datetime) -> int:
    # Lock order: token before session, as everywhere; another order could deadlock. Tokens that are locked now are
    # left to the next run.
    due = session.scalars(
        select(AccessToken.id)
        .join(ProxySession, ProxySession.token_id == AccessToken.id)
        .where(ProxySession.ended_at.is_(None), which)
        .order_by(AccessToken.id)
        .limit(CLOSE_BATCH_SIZE)
        .with_for_update(of=AccessToken, skip_locked=True)
    ).all()
    # In the order in which workers lock them (usage_counts.py), for the same reason.
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
    """End the owner's open session, so that another device can use the token. Raises NotFound."""
    return _end_one(session, ProxySession.user_id == owner.id, session_id, AuditAction.SESSION_RELEASED, actor)


def end_by_admin(session: Session, session_id: uuid.UUID, actor: Actor) -> ProxySession:
    """End any user's open session, as an admin; workers abort its transfers. Raises NotFound."""
    return _end_one(session, true(), session_id, AuditAction.SESSION_CUT, actor)


def exists(session: Session, session_id: uuid.UUID, *, token_id: uuid.UUID | None = None) -> bool:
    """Return whether a session exists, open or ended, of this token or of any."""
    found = session.get(ProxySession, session_id)
    return found is not None and token_id in {None, found.token_id}


def _end_one(
    session: Session, whose: ColumnElement[bool], session_id: uuid.UUID, action: AuditAction, actor: Actor
) -> ProxySession:
    held = session.scalars(select(ProxySession).where(ProxySession.id == session_id, whose)).one_or_none()
    if held is None:
        raise NotFound("session")
    # The invalidation locks the token's row before the session is ended: token before session.
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
