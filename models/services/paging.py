"""Lists are cut into pages in the database, never in Python."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

MAX_LIMIT = 100
MAX_OFFSET = 1_000_000
IN_MEMORY = 500
# In a log of millions nobody asks for the exact number.
LOG_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A slice of a list; `total` counts the whole, or stops counting where `is_exact` is False."""

    items: Sequence[T]
    total: int
    limit: int
    offset: int
    is_exact: bool = True

    @property
    def has_next(self) -> bool:
        return self.offset + len(self.items) < self.total

    @property
    def has_previous(self) -> bool:
        return self.offset > 0


@dataclass(frozen=True, slots=True)
class Listing[T]:
    """A list before it is cut: what is in it, and in which order."""

    query: Select[T]
    order: tuple[Any, ...]

    def page(self, session: Session, *, limit: int, offset: int, count_to: int | None = None) -> Page[T]:
        """Return a page of it; see `page_of`."""
        return page_of(session, self.query, order=self.order, limit=limit, offset=offset, count_to=count_to)

    def rows(self, session: Session) -> Iterator[T]:
        """Return all of it, some hundred rows in memory at a time."""
        return iter(session.scalars(self.query.order_by(*self.order).execution_options(yield_per=IN_MEMORY)))


def page_of[T](
    session: Session,
    query: Select[T],
    *,
    order: tuple[Any, ...],
    limit: int,
    offset: int,
    count_to: int | None = None,
) -> Page[T]:
    """Run `query` for one page; limit and offset are bounded on both sides here, whatever the caller passed.

    With `count_to` no more rows than that are counted: in a list of millions the exact number costs more than the page.
    """
    limit = min(max(limit, 1), MAX_LIMIT)
    offset = min(max(offset, 0), MAX_OFFSET)
    counted = query.order_by(None) if count_to is None else query.order_by(None).limit(count_to + 1)
    total = session.scalar(select(func.count()).select_from(counted.subquery())) or 0
    items = session.scalars(query.order_by(*order).limit(limit).offset(offset)).all()
    if count_to is None or total <= count_to:
        return Page(items, total, limit, offset)
    # There may be more behind this page than was counted.
    return Page(items, max(count_to, offset + len(items) + (len(items) == limit)), limit, offset, is_exact=False)
