"""Doctor checks of the ledger and of its last verification."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from models import clock
from models.services import messages
from models.services.ledger import verification as ledger_verification
from ops.doctor.findings import Finding, Installation, Section, duration

# All rules are proved in less than a second up to here; the nightly job proves them for any number.
QUICK_TRANSFERS = 100_000
FRESH = timedelta(hours=30)
FAULT = "Stop selling (maintenance mode), run ./zenzefi ledger verify, and compare with the last good backup."

_SUM = text("SELECT coalesce(sum(balance), 0) AS total, count(*) AS accounts FROM accounts")


def examine(house: Installation) -> Iterator[Finding]:
    """Prove every rule of the books; in a hurry and on a large shop, see that the sum is zero and ask the job."""
    with house.sessions.begin() as session:
        yield from _last_verification(house, session)
        estimate = session.scalar(text("SELECT reltuples FROM pg_class WHERE oid = 'transfers'::regclass")) or 0
        if house.is_quick and estimate > QUICK_TRANSFERS:
            yield _sum(session)
            return
    with house.sessions.begin() as session:
        report = ledger_verification.verify(session)
    seen = f"{report.transfers:,} transfers, {report.turnover:,.2f} ZNC turned over, {report.rules} rules checked"
    faults = ", ".join(map(messages.ledger_rule_text, report.faults))
    yield Finding("The books add up", report.is_sound, faults or seen, FAULT, Section.BOOKS)


def _sum(session: Session) -> Finding:
    total, accounts = session.execute(_SUM).one()
    seen = f"{accounts:,} accounts, sum {total:.2f}; ./zenzefi doctor ledger proves all of it"
    return Finding("The sum over all accounts is zero", total == 0, seen, FAULT, Section.BOOKS)


def _last_verification(house: Installation, session: Session) -> Iterator[Finding]:
    see, urgent = Section.BOOKS, house.settings.platform.is_production
    check: Any = ledger_verification.last_check(session)
    if check is None:
        do = "Wait for 02:30 UTC: the nightly job keeps what it finds. The line below is how they stand now."
        yield Finding("The books are proved each night", False, "not yet", do, see, is_urgent=False)
        return
    age = clock.now() - check.checked_at
    faults = ", ".join(map(messages.ledger_rule_text, check.faults))
    seen = f"{duration(age)} ago, " + ("sound" if check.is_sound else f"NOT sound: {faults}")
    do = FAULT if not check.is_sound else "See whether the worker of the slow queue lives (queues, below)."
    is_urgent = urgent or not check.is_sound
    yield Finding("The books are proved each night", check.is_sound and age < FRESH, seen, do, see, is_urgent)
