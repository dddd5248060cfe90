"""An owner's token, held for a change."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken, TokenState
from models.proxy_sessions import ProxySession
from models.services.errors import NotFound, TokenEnded
from models.users import User

# Clocks of machines that are kept right differ by less; the doctor reports more.
CLOCK_DIFFERENCE = timedelta(minutes=1)
ENDED = {TokenState.REVOKED, TokenState.EXPIRED}


def lock_owned(session: Session, owner: User, token_id: uuid.UUID) -> AccessToken:
    """Lock the owner's token and return it as it is in the database now. Raises NotFound for a stranger's."""
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
    """Raise TokenEnded for a token that is revoked or has expired: there is nothing left to change."""
    if state in ENDED:
        raise TokenEnded(state)


def accounting_time(session: Session, token: AccessToken) -> datetime:
    """Return the time by which a token's money and pauses are counted: now, or the latest time known if that is later.

    Used time does not run backwards. After a step back of the wall clock it would, and a refund would give back hours
    that have run. The latest time known is the last activity of the token itself or of any open session. Clocks of
    workers differ a little, so the activity of others counts only beyond a difference that no such clock has.
    """
    moment = clock.now()
    if token.activated_at is None:
        return moment
    own = select(func.max(ProxySession.last_activity)).where(ProxySession.token_id == token.id)
    others = select(func.max(ProxySession.last_activity)).where(ProxySession.ended_at.is_(None))
    last_own, last_of_all = session.execute(select(own.scalar_subquery(), others.scalar_subquery())).one()
    known = [token.activated_at, *([last_own] if last_own else [])]
    if last_of_all is not None and last_of_all > moment + CLOCK_DIFFERENCE:
        known.append(last_of_all)
    return max(moment, *known)
