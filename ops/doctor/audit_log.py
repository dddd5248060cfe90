"""Checks of the audit log: hash chain, backlog of unchained rows, last nightly verification."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.audit_chain import AuditCheck
from models.services.audit import hash_chain
from models.services.audit import verification as chain_verification
from ops.backups.chain_heads import ChainHeads
from ops.doctor.findings import Finding, Installation, Section, duration

# Verified within a second; the nightly job verifies any number.
QUICK_ROWS = 20_000
FRESH = timedelta(hours=30)
CHAINED_WITHIN = timedelta(minutes=10)
FAULT = "Run ./zenzefi audit verify, keep the database as it is, and ask who could write to it (docs/audit.md)."


def examine(installation: Installation) -> Iterator[Finding]:
    """Check the chaining backlog and the last verification, and verify the chain unless that takes long."""
    with installation.sessions.begin() as session:
        yield _last_verification(installation, session)
        standing = hash_chain.status(session)
    waiting = timedelta(seconds=standing.seconds)
    seen = f"{standing.number:,} chained, {standing.waiting} pending" + (
        f", the oldest {duration(waiting)}" if standing.waiting else ""
    )
    do = "The worker chains them: check that it and the scheduler run (queues)."
    yield Finding("New audit rows are chained", waiting < CHAINED_WITHIN, seen, do, Section.AUDIT)
    if installation.is_quick and standing.number > QUICK_ROWS:
        return
    folder = installation.settings.backup.folder
    noted = ChainHeads(Path(folder)).known() if folder else {}
    with installation.sessions.begin() as session:
        report = chain_verification.verify(session, hash_chain.key_of(installation.settings.tokens), recorded=noted)
    seen = str(report.fault) if report.fault else f"{report.rows:,} rows, {report.archives} exports before them"
    yield Finding("The audit log is unaltered", report.is_sound, seen, FAULT, Section.AUDIT)


def _last_verification(installation: Installation, session: Session) -> Finding:
    what, urgent = "The audit log is verified each night", installation.settings.platform.is_production
    check = session.scalars(select(AuditCheck).order_by(AuditCheck.id.desc()).limit(1)).one_or_none()
    if check is None:
        do = "Wait for the nightly job at 02:45 UTC, or run ./zenzefi audit verify --note."
        return Finding(what, False, "not yet", do, Section.AUDIT, is_urgent=False)
    age = clock.now() - check.checked_at
    seen = f"{duration(age)} ago, " + (f"up to row {check.number:,}" if check.is_sound else check.fault)
    do = "Check that the jobs run (queues)." if check.is_sound else FAULT
    is_well = check.is_sound and age < FRESH
    return Finding(what, is_well, seen, do, Section.AUDIT, is_urgent=urgent or not check.is_sound)
