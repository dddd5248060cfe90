"""Ledger entries of one wallet: pages, iteration over all, and sums over periods.

A wallet is the debit or the credit account of a transfer. Each side is queried by itself and the two are merged: either
is an index-only scan in order, whereas an OR fetches and sorts every row of the wallet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import DateTime, Subquery, func, select, true, union_all
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session

from models.ledger import Account, Transfer, TransferKind
from models.services.pagination import IN_MEMORY, MAX_LIMIT, MAX_OFFSET, Page

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_MOMENT = DateTime(timezone=True)
_SIDES = (Transfer.credit_account_id, Transfer.debit_account_id)


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of credits and debits in ZNC, and the number of entries."""

    received: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    count: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A period from `start` up to, but not including, `end`."""

    start: datetime = _FIRST
    end: datetime = _LAST


ALWAYS = Span()


def page(
    session: Session,
    wallet: Account,
    *,
    limit: int,
    offset: int,
    kind: TransferKind | None = None,
    span: Span = ALWAYS,
    oldest_first: bool = False,
) -> Page[Transfer]:
    """Return a page of a wallet's entries, newest first unless `oldest_first`."""
    limit, offset = min(max(limit, 1), MAX_LIMIT), min(max(offset, 0), MAX_OFFSET)
    which = [*_within(span), *([] if kind is None else [Transfer.kind == kind])]
    total = session.scalar(select(func.count()).select_from(_merged(wallet, which))) or 0
    items = _slice(session, wallet, which, limit, offset, oldest_first=oldest_first) if offset < total else []
    return Page(items, total, limit, offset)


def latest(session: Session, wallet: Account, count: int) -> Sequence[Transfer]:
    """Return a wallet's latest entries, newest first, without counting the others."""
    return _slice(session, wallet, [], count, 0)


def all_entries(session: Session, wallet: Account, span: Span = ALWAYS) -> Iterator[Transfer]:
    """Iterate over a wallet's entries, oldest first, a few hundred in memory at a time."""
    moved = _merged(wallet, _within(span))
    query = select(Transfer).join(moved, moved.c.id == Transfer.id).order_by(*_in_order(moved.c, oldest_first=True))
    return iter(session.scalars(query.execution_options(yield_per=IN_MEMORY)))


def first_and_last(session: Session, wallet: Account) -> tuple[datetime, datetime] | None:
    """Return the times of a wallet's first and last entry; None when it has none."""
    ends = [
        of_both(*(select(end(Transfer.created_at)).where(side == wallet.id).scalar_subquery() for side in _SIDES))
        for of_both, end in ((func.least, func.min), (func.greatest, func.max))
    ]
    first, last = session.execute(select(*ends)).one()
    return None if first is None else (first, last)


def sums(session: Session, wallet: Account, spans: Sequence[Span]) -> list[Sums]:
    """Return the sums of a wallet's entries in each span, by one statement."""
    bounds = [array([getattr(span, name) for span in spans], type_=_MOMENT) for name in ("start", "end")]
    asked = func.unnest(*bounds).table_valued("start", "end", with_ordinality="number").render_derived()
    within = (Transfer.created_at >= asked.c.start, Transfer.created_at < asked.c.end)
    total = func.coalesce(func.sum(Transfer.amount), 0).label("total")
    received, spent = (
        select(total, func.count().label("count")).where(side == wallet.id, *within).lateral() for side in _SIDES
    )
    query = select(received.c.total, spent.c.total, received.c.count + spent.c.count)
    query = query.select_from(asked).join(received, true()).join(spent, true()).order_by(asked.c.number)
    return [Sums(*row) for row in session.execute(query)]


def _slice(
    session: Session, wallet: Account, which: list[Any], limit: int, offset: int, *, oldest_first: bool = False
) -> Sequence[Transfer]:
    # Neither side has to be read beyond the end of this page.
    moved = _merged(wallet, which, *_in_order(Transfer, oldest_first=oldest_first), at_most=offset + limit)
    order = _in_order(moved.c, oldest_first=oldest_first)
    asked = select(moved.c.id).order_by(*order).limit(limit).offset(offset)
    query = select(Transfer).where(Transfer.id.in_(asked))
    return session.scalars(query.order_by(*_in_order(Transfer, oldest_first=oldest_first))).all()


def _merged(wallet: Account, which: list[Any], *order: Any, at_most: int | None = None) -> Subquery:
    """Return id and time of a wallet's entries; with an order, of the first `at_most` of each side."""
    sides = (select(Transfer.id, Transfer.created_at).where(side == wallet.id, *which) for side in _SIDES)
    return union_all(*(side.order_by(*order).limit(at_most) if order else side for side in sides)).subquery()


def _within(span: Span) -> list[Any]:
    return [] if span == ALWAYS else [Transfer.created_at >= span.start, Transfer.created_at < span.end]


def _in_order(columns: Any, *, oldest_first: bool) -> tuple[Any, ...]:
    if oldest_first:
        return columns.created_at, columns.id
    return columns.created_at.desc(), columns.id.desc()
