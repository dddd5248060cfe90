"""Find, list and lock access tokens, and filter them in SQL by state."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, DateTime, ScalarSelect, and_, false, func, literal_column, or_, select
from sqlalchemy.orm import Session, aliased, joinedload

from models import clock
from models.access_tokens import ENDS, AccessToken, TokenState, pauses_at
from models.proxy_sessions import ProxySession
from models.services import text_validation
from models.services.crypto import secrets
from models.services.errors import NotFound, TokenEnded
from models.services.pagination import Page, fetch_page
from models.users import User

# Clocks that are kept in sync differ by less; the doctor reports more.
CLOCK_DIFFERENCE = timedelta(minutes=1)
ENDED = {TokenState.REVOKED, TokenState.EXPIRED}


def by_id(session: Session, token_id: uuid.UUID) -> AccessToken:
    """Return any user's token, for admins. Raises NotFound."""
    token = session.get(AccessToken, token_id)
    if token is None:
        raise NotFound("token")
    return token


def owned(session: Session, owner: User, token_id: uuid.UUID) -> AccessToken:
    """Return the owner's token; another user's is NotFound."""
    token = session.scalars(
        select(AccessToken).where(AccessToken.id == token_id, AccessToken.user_id == owner.id)
    ).one_or_none()
    if token is None:
        raise NotFound("token")
    return token


def of_user(
    session: Session, user_id: uuid.UUID, *, active_only: bool = False, limit: int, offset: int
) -> Page[AccessToken]:
    """Return a page of a user's tokens, newest first."""
    query = select(AccessToken).where(AccessToken.user_id == user_id)
    if active_only:
        query = query.where(has_not_ended())
    return fetch_page(session, query, order=(AccessToken.created_at.desc(), AccessToken.id), limit=limit, offset=offset)


def search(
    session: Session,
    *,
    prefix: str = "",
    user_id: uuid.UUID | None = None,
    active_only: bool = False,
    limit: int,
    offset: int,
) -> Page[AccessToken]:
    """Return a page of all tokens with their owners, newest first; `prefix` matches from the start."""
    query = select(AccessToken).options(joinedload(AccessToken.user))
    if user_id is not None:
        query = query.where(AccessToken.user_id == user_id)
    if not text_validation.is_printable(prefix.strip()):
        query = query.where(false())
    elif prefix.strip():
        query = query.where(AccessToken.prefix.startswith(prefix.strip()[: secrets.PREFIX_LENGTH], autoescape=True))
    order = (AccessToken.created_at.desc(), AccessToken.id)
    if not active_only:
        return fetch_page(session, query, order=order, limit=limit, offset=offset)
    parts = [query.where(case) for case in _not_ended_cases()]
    return fetch_page(session, query.where(has_not_ended()), order=order, limit=limit, offset=offset, parts=parts)


def has_not_ended() -> ColumnElement[bool]:
    """Return an SQL condition: the token is neither revoked nor expired; an unused one has no end."""
    return or_(*_not_ended_cases())


def _not_ended_cases() -> tuple[ColumnElement[bool], ...]:
    """Return the disjoint cases, each written as in its index."""
    return AccessToken.revoked_at.is_(None) & AccessToken.activated_at.is_(None), has_time_left(clock.now())


def has_time_left(moment: datetime) -> ColumnElement[bool]:
    """Return an SQL condition: a used token has not ended at `moment`, written exactly as in its index."""
    return and_(
        AccessToken.revoked_at.is_(None),
        AccessToken.activated_at.is_not(None),
        literal_column(ENDS, DateTime(timezone=False)) > moment.replace(tzinfo=None),
    )


def is_running(moment: datetime) -> ColumnElement[bool]:
    """Return an SQL condition: the token's time is running at `moment`."""
    return has_time_left(moment) & ~pauses_at(moment)


def lock_owned(session: Session, owner: User, token_id: uuid.UUID) -> AccessToken:
    """Lock the owner's token and return it as it is in the database now. Raises NotFound for another user's token."""
    token = session.scalars(
        select(AccessToken)
        .where(AccessToken.id == token_id, AccessToken.user_id == owner.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if token is None:
        raise NotFound("token")
    return token


def require_not_ended(state: TokenState) -> None:
    """Raise TokenEnded for a token that is revoked or has expired."""
    if state in ENDED:
        raise TokenEnded(state)


def accounting_time(session: Session, token: AccessToken) -> datetime:
    """Return the time for billing, pauses and expiry of a token: now, or the latest known activity if that is later.

    Used time must not decrease: after a step back of the wall clock, a refund would otherwise pay back used hours and
    an expired token would be admitted again. Known are the last activity of the token, the end of its last session,
    and the last activity of open sessions.
    """
    last_own, last_of_all = session.execute(select(last_use(token.id), last_use_of_all())).one()
    return latest_time(token, clock.now(), last_own, last_of_all)


def latest_time(
    token: AccessToken, moment: datetime, last_own: datetime | None, last_of_all: datetime | None
) -> datetime:
    """Return the latest of `moment`, the token's own last activity, and that of all tokens (see `accounting_time`).

    Workers' clocks differ slightly, so the activity of other sessions counts only beyond `CLOCK_DIFFERENCE`.
    """
    if token.activated_at is None:
        return moment
    known = [token.activated_at, *([last_own] if last_own else [])]
    if last_of_all is not None and last_of_all > moment + CLOCK_DIFFERENCE:
        known.append(last_of_all)
    return max(moment, *known)


def last_use(token_id: Any) -> ScalarSelect[datetime]:
    """Return a subquery of a token's last activity or last session end; `token_id` may be a column."""
    used = aliased(ProxySession)
    last = func.max(func.greatest(used.last_activity, used.ended_at))
    return select(last).where(used.token_id == token_id).scalar_subquery()


def last_use_of_all() -> ScalarSelect[datetime]:
    """Return a subquery of the last activity of all open sessions."""
    opened = aliased(ProxySession)
    return select(func.max(opened.last_activity)).where(opened.ended_at.is_(None)).scalar_subquery()


def accounting_time_of_all(session: Session) -> datetime:
    """Return the time for what is due: now, or the last activity of any open session if that is later."""
    moment, last = clock.now(), session.scalar(select(last_use_of_all()))
    return moment if last is None or last <= moment + CLOCK_DIFFERENCE else last
