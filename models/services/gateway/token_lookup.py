"""Token look-up for admission: `TokenSnapshot` and the queries that read it by secret hash or by id."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.proxy_sessions import ProxySession
from models.services.tokens import queries as token_queries
from models.token_pauses import is_paused_for_debt
from models.users import User


@dataclass(frozen=True, slots=True)
class TokenSnapshot:
    """What admission needs to know of a token, as read from the database in one query."""

    token_id: uuid.UUID
    user_id: uuid.UUID
    prefix: str
    scope: str
    duration_hours: int
    version: int
    owner_is_active: bool
    is_activated: bool
    is_revoked: bool
    # When the current pause reaches its limit, and when the token expires if that pause lasts until then.
    paused_until: datetime | None
    expires_at: datetime | None
    seconds_left: int | None
    session_id: uuid.UUID | None
    device_id: str | None
    # The device of the browser access cookie by which the token was found (models/services/tokens/browser_access.py).
    own_device: str | None = None
    # Whether the pause lasts until a debt is repaid (models/services/tokens/debt_pauses.py).
    is_paused_for_debt: bool = False
    # The latest known use of the token, in case the wall clock was set back behind it.
    used_until: datetime | None = None
    # The number of the secret, counted from the purchase.
    generation: int = 1
    # Until when the secret by which the token was found is valid, if it has been replaced.
    secret_until: datetime | None = None
    # Until when the previous secret is valid.
    previous_until: datetime | None = None

    def is_paused(self, moment: datetime) -> bool:
        """Return whether the token is paused at `moment`."""
        return self.paused_until is not None and moment < self.paused_until


def find(session: Session, secret_hash: bytes) -> TokenSnapshot | None:
    """Look a token up by the hash of its secret, or of the previous one while that is valid."""
    found = next(_snapshots(session, AccessToken.secret_hash == secret_hash), None)
    if found is not None:
        return found
    former = next(_snapshots(session, AccessToken.previous_hash == secret_hash), None)
    if former is None or former.previous_until is None or former.previous_until <= clock.now():
        return None
    return replace(former, generation=former.generation - 1, secret_until=former.previous_until)


def find_by_id(session: Session, token_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, TokenSnapshot]:
    """Look tokens up by id; unknown ids are omitted."""
    return {known.token_id: known for known in _snapshots(session, AccessToken.id.in_(token_ids))}


def _snapshots(session: Session, which: ColumnElement[bool]) -> Iterator[TokenSnapshot]:
    rows = session.execute(
        select(
            *(AccessToken, User.is_active, ProxySession.id, ProxySession.device_id, is_paused_for_debt()),
            *(token_queries.last_use(AccessToken.id), token_queries.last_use_of_all()),
        )
        .join(User, User.id == AccessToken.user_id)
        .outerjoin(ProxySession, (ProxySession.token_id == AccessToken.id) & ProxySession.ended_at.is_(None))
        .where(which)
    )
    moment = clock.now()
    for token, owner_is_active, session_id, device_id, is_for_debt, last_own, last_of_all in rows:
        latest = token_queries.latest_time(token, moment, last_own, last_of_all)
        yield TokenSnapshot(
            token_id=token.id,
            user_id=token.user_id,
            prefix=token.prefix,
            scope=token.scope,
            duration_hours=token.duration_hours,
            version=token.version,
            owner_is_active=owner_is_active,
            is_activated=token.activated_at is not None,
            is_revoked=token.revoked_at is not None,
            paused_until=token.paused_until,
            expires_at=token.ends_at,
            seconds_left=token.seconds_left(latest),
            session_id=session_id,
            device_id=device_id,
            is_paused_for_debt=is_for_debt,
            used_until=latest if latest > moment else None,
            generation=token.generation,
            previous_until=token.previous_until,
        )
