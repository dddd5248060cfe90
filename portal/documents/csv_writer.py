"""CSV files: one line for each row, with plain amounts, UTC times and no spreadsheet formulas."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from portal.template_filters import utc

# A cell that begins with one of these is a formula to spreadsheet programs, the wide ones in some languages.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip

Cell = str | int | Decimal | datetime | None


def csv_lines(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """Write rows as CSV, line by line; amounts with two places, times in UTC, text that no program runs."""
    yield _csv_line(head)
    for row in rows:
        yield _csv_line(row)


def _csv_line(row: Sequence[Cell]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_plain(cell) for cell in row])
    return buffer.getvalue()


def _plain(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case datetime():
            return utc(cell)
        case Decimal():
            return f"{cell:.2f}"
        case str() if cell.startswith(_FORMULA):
            return f"'{cell}"
        case _:
            return str(cell)
