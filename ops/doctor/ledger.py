"""The books, rule by rule."""

from collections.abc import Iterator

from models.services import books
from ops.doctor.findings import Finding, House


def examine(house: House) -> Iterator[Finding]:
    """Check every rule of the ledger against all rows."""
    with house.sessions.begin() as session:
        report = books.verify(session)
    seen = f"{report.transfers:,} transfers, {report.rules} rules"
    if report.is_sound:
        yield Finding("The books add up", True, seen)
    for rule, rows in report.faults.items():
        yield Finding(rule, False, "; ".join(rows[:3]))
