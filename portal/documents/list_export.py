"""Lists as a page or as a complete CSV file, with the same filters."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from flask import Response, request, stream_with_context

from models import clock
from models.services.pagination import MAX_LIMIT, ListQuery, Page
from portal.documents.csv_writer import Cell, csv_lines
from portal.request import context
from portal.request.pagination import page_slice

type Column[T] = Callable[[T], Cell]
# CSV lines in one chunk of the response.
LINES_PER_CHUNK = 200
# Lists are counted up to this number of rows; longer ones are shown as "more than".
COUNT_LIMIT = 10_000

__all__ = ["Cell", "Column", "all_rows", "as_csv", "is_wanted", "page_of", "rows_as_csv"]


def is_wanted() -> bool:
    """Return whether the list is requested as CSV."""
    return request.args.get("format") == "csv"


def page_of[T](listing: ListQuery[T], name: str = "page") -> Page[T]:
    """Return the page of a list that the query names."""
    return listing.page(context.session(), **page_slice(name), count_to=COUNT_LIMIT)


def as_csv[T](name: str, columns: Mapping[str, Callable[[T], Cell]], listing: ListQuery[T]) -> Response:
    """Stream a whole list as CSV, some hundred rows in memory at a time."""

    def rows() -> Iterator[list[Cell]]:
        # Runs while the response is sent, when the view's database session has ended.
        for row in listing.rows(context.session()):
            yield [cell(row) for cell in columns.values()]

    return rows_as_csv(name, list(columns), rows())


def all_rows[T](find: Callable[..., Page[T]]) -> Iterator[T]:
    """Yield all rows of a short list that is read page by page."""
    offset = 0
    while True:
        page = find(context.session(), limit=MAX_LIMIT, offset=offset)
        yield from page.items
        if not page.has_next:
            return
        offset += MAX_LIMIT


def rows_as_csv(name: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Response:
    """Stream rows as a CSV file."""
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
