"""The office's lists: a page of one for reading, or all of it as CSV, by the same filters."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from flask import Response, request, stream_with_context

from models import clock
from models.services.pagination import MAX_LIMIT, ListQuery, Page
from portal.documents.csv_writer import Cell, csv_lines
from portal.request import context
from portal.request.pagination import page_slice

type Column[T] = Callable[[T], Cell]
# So many lines go into one piece of the answer.
LINES_PER_CHUNK = 200
# A list is counted this far for reading; beyond it, it is long.
COUNT_LIMIT = 10_000

__all__ = ["Cell", "Column", "all_rows", "as_csv", "is_wanted", "page_of", "rows_as_csv"]


def is_wanted() -> bool:
    """Say whether the list is asked for as a file."""
    return request.args.get("format") == "csv"


def page_of[T](listing: ListQuery[T], name: str = "page") -> Page[T]:
    """Return the page of a list that the address asks for."""
    return listing.page(context.session(), **page_slice(name), count_to=COUNT_LIMIT)


def as_csv[T](name: str, columns: Mapping[str, Callable[[T], Cell]], listing: ListQuery[T]) -> Response:
    """Stream a whole list, some hundred rows in memory at a time; text that a program would run is made plain."""

    def rows() -> Iterator[list[Cell]]:
        # Asked when the answer is being sent: the session of the view has ended by then.
        for row in listing.rows(context.session()):
            yield [cell(row) for cell in columns.values()]

    return rows_as_csv(name, list(columns), rows())


def all_rows[T](find: Callable[..., Page[T]]) -> Iterator[T]:
    """Return all of a short list that is found page by page."""
    offset = 0
    while True:
        page = find(context.session(), limit=MAX_LIMIT, offset=offset)
        yield from page.items
        if not page.has_next:
            return
        offset += MAX_LIMIT


def rows_as_csv(name: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Response:
    """Stream rows as a file; nothing of it is kept."""
    content = stream_with_context(_chunks(csv_lines(head, rows)))
    response = Response(content, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="zenzefi-{name}-{clock.now():%Y-%m-%d}.csv"'
    return response


def _chunks(lines: Iterator[str]) -> Iterator[str]:
    waiting: list[str] = []
    for line in lines:
        waiting.append(line)
        if len(waiting) == LINES_PER_CHUNK:
            yield "".join(waiting)
            waiting.clear()
    yield "".join(waiting)
