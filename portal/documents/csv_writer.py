"""CSV files: one line for each row, with plain amounts, UTC times and no spreadsheet formulas."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from portal.template_filters import utc

# Spreadsheet programs treat a cell that begins with one of these as a formula (full-width ones in some languages).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip

Cell = str | int | Decimal | datetime | None


def csv_lines(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """Yield CSV lines: amounts with two decimal places, times in UTC, text that is no formula."""
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
