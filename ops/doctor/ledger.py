"""Checks of the ledger: verification now, and the last nightly verification."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from models import clock
from models.services import messages
from models.services.ledger import verification as ledger_verification
from ops.doctor.findings import Finding, Installation, Section, duration

# A quick run verifies a ledger of at most this size, which takes less than a second.
QUICK_TRANSFERS = 100_000
FRESH = timedelta(hours=30)
ON_FAILURE = "Turn maintenance mode on, run ./zenzefi ledger verify, and compare with the last good backup."

_SUM = text("SELECT coalesce(sum(balance), 0) AS total, count(*) AS accounts FROM accounts")


def examine(installation: Installation) -> Iterator[Finding]:
    """Verify every ledger rule; in a quick run on a large ledger, only check that all balances sum up to zero."""
    with installation.sessions.begin() as session:
        yield from _last_verification(installation, session)
        estimate = session.scalar(text("SELECT reltuples FROM pg_class WHERE oid = 'transfers'::regclass")) or 0
        if installation.is_quick and estimate > QUICK_TRANSFERS:
            yield _sum(session)
            return
    with installation.sessions.begin() as session:
        report = ledger_verification.verify(session)
    seen = f"{report.transfers:,} transfers, {report.turnover:,.2f} ZNC turned over, {report.rules} rules checked"
    faults = ", ".join(map(messages.ledger_rule_text, report.faults))
    yield Finding("Ledger verification passes", report.is_sound, faults or seen, ON_FAILURE, Section.LEDGER)


def _sum(session: Session) -> Finding:
    total, accounts = session.execute(_SUM).one()
    seen = f"{accounts:,} accounts, sum {total:.2f}; ./zenzefi doctor ledger verifies every rule"
    return Finding("The sum over all accounts is zero", total == 0, seen, ON_FAILURE, Section.LEDGER)


def _last_verification(installation: Installation, session: Session) -> Iterator[Finding]:
    see, urgent = Section.LEDGER, installation.settings.platform.is_production
    check: Any = ledger_verification.last_check(session)
    if check is None:
        do = "Wait for the nightly job at 02:30 UTC. The line below is the state now."
        yield Finding("The ledger is verified each night", False, "not yet", do, see, is_urgent=False)
        return
    age = clock.now() - check.checked_at
    faults = ", ".join(map(messages.ledger_rule_text, check.faults))
    seen = f"{duration(age)} ago, " + ("passed" if check.is_sound else f"FAILED: {faults}")
    do = ON_FAILURE if not check.is_sound else "Check that the worker of the slow queue runs (queues, below)."
    is_urgent = urgent or not check.is_sound
    yield Finding("The ledger is verified each night", check.is_sound and age < FRESH, seen, do, see, is_urgent)
