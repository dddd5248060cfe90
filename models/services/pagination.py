"""Lists are cut into pages in the database, never in Python."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, inspect, select
from sqlalchemy.orm import Session

MAX_LIMIT = 100
MAX_OFFSET = 1_000_000
IN_MEMORY = 500
# In a log of millions nobody asks for the exact number.
LOG_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A slice of a list; `total` counts the whole, or where the list ends: there is more where `is_exact` is False."""

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
    """A list before it is cut: what is in it, and in which order."""

    query: Select[T]
    order: tuple[Any, ...]

    def page(self, session: Session, *, limit: int, offset: int, count_to: int | None = None) -> Page[T]:
        """Return a page of it; see `page_of`."""
        return fetch_page(session, self.query, order=self.order, limit=limit, offset=offset, count_to=count_to)

    def rows(self, session: Session) -> Iterator[T]:
        """Return all of it, some hundred rows in memory at a time."""
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
    """Run `query` for one page; limit and offset are bounded on both sides here, whatever the caller passed.

    With `count_to` the list ends after so many rows, for counting a list and leafing through it: in one of millions
    the exact number costs more than the page, and who looks for the older ones narrows the list. `parts` are
    the rows of the query in several queries, none of which has any of another's, that are counted more easily.
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
    """Read a slice by the keys of its rows: what is passed over on the way is then read from an index alone.

    What the query joins in for each row is joined to the rows of the slice, not to all that come before them.
    """
    (key,) = inspect(query.column_descriptions[0]["entity"]).primary_key
    asked = query.with_only_columns(key).order_by(*order).limit(limit).offset(offset)
    return session.scalars(query.where(key.in_(asked)).order_by(*order)).all()
