"""Doctor checks of the audit log's hash chain and of its last verification."""

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

# A second's walk; the nightly job proves any number.
QUICK_ROWS = 20_000
FRESH = timedelta(hours=30)
CHAINED_WITHIN = timedelta(minutes=10)
FAULT = "Run ./zenzefi audit verify, keep the database as it is, and ask who could write to it (docs/audit.md)."


def examine(house: Installation) -> Iterator[Finding]:
    """See that rows are sealed, ask for the last proof, and prove the chain anew unless that takes long."""
    with house.sessions.begin() as session:
        yield _last_verification(house, session)
        standing = hash_chain.status(session)
    waiting = timedelta(seconds=standing.seconds)
    seen = f"{standing.number:,} sealed, {standing.waiting} wait" + (
        f", the first {duration(waiting)}" if standing.waiting else ""
    )
    do = "The worker seals them: see whether it and the scheduler live (queues)."
    yield Finding("New audit rows are sealed", waiting < CHAINED_WITHIN, seen, do, Section.AUDIT)
    if house.is_quick and standing.number > QUICK_ROWS:
        return
    folder = house.settings.backup.folder
    noted = ChainHeads(Path(folder)).known() if folder else {}
    with house.sessions.begin() as session:
        report = chain_verification.verify(session, hash_chain.key_of(house.settings.tokens), recorded=noted)
    seen = str(report.fault) if report.fault else f"{report.rows:,} rows, {report.archives} exports before them"
    yield Finding("The audit log is what was written", report.is_sound, seen, FAULT, Section.AUDIT)


def _last_verification(house: Installation, session: Session) -> Finding:
    what, urgent = "The audit log is proved each night", house.settings.platform.is_production
    check = session.scalars(select(AuditCheck).order_by(AuditCheck.id.desc()).limit(1)).one_or_none()
    if check is None:
        do = "Wait for 02:45 UTC: the nightly job keeps what it finds; ./zenzefi audit verify --note does so at once."
        return Finding(what, False, "not yet", do, Section.AUDIT, is_urgent=False)
    age = clock.now() - check.checked_at
    seen = f"{duration(age)} ago, " + (f"up to row {check.number:,}" if check.is_sound else check.fault)
    do = "See whether the jobs run (queues)." if check.is_sound else FAULT
    is_well = check.is_sound and age < FRESH
    return Finding(what, is_well, seen, do, Section.AUDIT, is_urgent=urgent or not check.is_sound)
