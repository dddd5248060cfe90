"""Pagination in the database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, inspect, select
from sqlalchemy.orm import Session

MAX_LIMIT = 100
MAX_OFFSET = 1_000_000
IN_MEMORY = 500
# Lists of a log are counted up to this number.
LOG_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A slice of a list; `total` is its length, or a lower bound where `is_exact` is False."""

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
class ListQuery[T]:
    """A list before it is cut into pages: query and order."""

    query: Select[T]
    order: tuple[Any, ...]

    def page(self, session: Session, *, limit: int, offset: int, count_to: int | None = None) -> Page[T]:
        """Return one page; see `fetch_page`."""
        return fetch_page(session, self.query, order=self.order, limit=limit, offset=offset, count_to=count_to)

    def rows(self, session: Session) -> Iterator[T]:
        """Return all rows, some hundred in memory at a time."""
        return iter(session.scalars(self.query.order_by(*self.order).execution_options(yield_per=IN_MEMORY)))


def fetch_page[T](
    session: Session,
    query: Select[T],
    *,
    order: tuple[Any, ...],
    limit: int,
    offset: int,
    count_to: int | None = None,
    parts: Sequence[Select[T]] = (),
) -> Page[T]:
    """Run `query` for one page; limit and offset are clamped here, whatever the caller passed.

    With `count_to` the list ends after that many rows, for counting and paging: in a list of millions the exact count
    costs more than the page. `parts` are disjoint queries that together have the rows of `query` and are cheaper to
    count.
    """
    limit = min(max(limit, 1), MAX_LIMIT)
    offset = min(max(offset, 0), MAX_OFFSET)
    counted = [part.order_by(None) if count_to is None else part.limit(count_to + 1) for part in parts or (query,)]
    counts = [select(func.count()).select_from(part.subquery()).scalar_subquery() for part in counted]
    total: int = sum(session.execute(select(*counts)).one())
    is_exact = count_to is None or total <= count_to
    total = total if count_to is None else min(total, count_to)
    items = _rows(session, query, order, min(limit, total - offset), offset) if offset < total else []
    return Page(items, total, limit, offset, is_exact)


def _rows[T](session: Session, query: Select[T], order: tuple[Any, ...], limit: int, offset: int) -> Sequence[T]:
    """Read a slice by its rows' keys: the skipped rows are then read from an index alone.

    Joins of the query apply to the rows of the slice, not to all rows before them.
    """
    (key,) = inspect(query.column_descriptions[0]["entity"]).primary_key
    asked = query.with_only_columns(key).order_by(*order).limit(limit).offset(offset)
    return session.scalars(query.where(key.in_(asked)).order_by(*order)).all()
