"""Token history in one list: activation, pauses, outage credit, extensions, renewals, rotations."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Numeric,
    Select,
    String,
    cast,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.outage_credits import OutageCredit
from models.outages import Outage
from models.services.pagination import MAX_LIMIT, MAX_OFFSET, Page
from models.token_events import TokenEvent
from models.token_pauses import TokenPause

_PRICE = Numeric(18, 2)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One event: `kind` is bought, used, paused, credited, extended, renewed, rotated or revoked.

    `until` ends a period (None while it lasts), `seconds` is the time added, `price` its cost.
    """

    kind: str
    at: datetime
    until: datetime | None
    seconds: int
    price: Decimal | None


def of_token(session: Session, token: AccessToken, *, limit: int, offset: int) -> Page[HistoryEntry]:
    """Return a page of the history, newest first."""
    limit, offset = min(max(limit, 1), MAX_LIMIT), min(max(offset, 0), MAX_OFFSET)
    lines = _lines(token.id).cte()
    part = select(lines).order_by(lines.c.at.desc(), lines.c.kind).limit(limit).offset(offset).subquery()
    # At least one row, so that a page past the end has the total as well.
    total = select(func.count().label("total")).select_from(lines).subquery()
    query = select(total.c.total, part).select_from(total.outerjoin(part, true()))
    rows = session.execute(query.order_by(part.c.at.desc(), part.c.kind)).all()
    return Page([HistoryEntry(*row[1:]) for row in rows if row.kind is not None], rows[0].total, limit, offset)


def _lines(token_id: uuid.UUID) -> CompoundSelect[Any]:
    of_pause = func.coalesce(func.extract("epoch", TokenPause.ended_at - TokenPause.started_at), 0)
    return union_all(
        _line("used", AccessToken.activated_at).where(
            AccessToken.id == token_id, AccessToken.activated_at.is_not(None)
        ),
        _line("revoked", AccessToken.revoked_at).where(AccessToken.id == token_id, AccessToken.revoked_at.is_not(None)),
        _line("paused", TokenPause.started_at, TokenPause.ended_at, of_pause).where(TokenPause.token_id == token_id),
        _line("credited", Outage.opened_at, Outage.closed_at, OutageCredit.seconds)
        .join(OutageCredit, OutageCredit.outage_id == Outage.id)
        .where(OutageCredit.token_id == token_id, OutageCredit.seconds > 0),
        _line(TokenEvent.kind, TokenEvent.happened_at, None, TokenEvent.seconds, TokenEvent.price).where(
            TokenEvent.token_id == token_id
        ),
    )


def _line(kind: Any, at: Any, until: Any = None, seconds: Any = 0, price: Any = None) -> Select[Any]:
    return select(
        cast(literal(kind) if isinstance(kind, str) else kind, String).label("kind"),
        at.label("at"),
        cast(null() if until is None else until, Outage.opened_at.type).label("until"),
        cast(seconds, BigInteger).label("seconds"),
        cast(null() if price is None else price, _PRICE).label("price"),
    )
