"""Lists are cut into pages in the database, never in Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

MAX_LIMIT = 100
MAX_OFFSET = 1_000_000


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A slice of a list; `total` counts the whole."""

    items: Sequence[T]
    total: int
    limit: int
    offset: int

    @property
    def has_next(self) -> bool:
        return self.offset + len(self.items) < self.total

    @property
    def has_previous(self) -> bool:
        return self.offset > 0


def page_of[T](session: Session, query: Select[T], *, order: tuple[Any, ...], limit: int, offset: int) -> Page[T]:
    """Run `query` for one page; limit and offset are bounded on both sides here, whatever the caller passed."""
    limit = min(max(limit, 1), MAX_LIMIT)
    offset = min(max(offset, 0), MAX_OFFSET)
    total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    items = session.scalars(query.order_by(*order).limit(limit).offset(offset)).all()
    return Page(items, total, limit, offset)
