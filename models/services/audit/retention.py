"""Audit log retention: which part is old enough to export, and deletion of exported rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from models.audit import AuditEntry
from models.audit_chain import AuditArchive, AuditChainLink
from models.services.audit import hash_chain
from models.services.audit import verification as chain_verification
from models.services.audit.hash_chain import ChainedRow, Head

# Rows per file, and rows deleted in one transaction.
ROWS_PER_FILE, BATCH_SIZE = 500_000, 5000


@dataclass(frozen=True, slots=True)
class ChainPart:
    """A part of the chain: from the row after `anchor` up to the row `last`."""

    anchor: Head
    last: int

    @property
    def first(self) -> int:
        return self.anchor.number + 1


def due(session: Session, moment: datetime) -> ChainPart | None:
    """Return the next part that lies completely before a moment and was not exported."""
    exported = hash_chain.last_archive(session)
    anchor = Head(exported.last, exported.head, exported.newest_at) if exported else Head()
    behind = (AuditChainLink.number > anchor.number, AuditChainLink.number <= anchor.number + ROWS_PER_FILE)
    query = select(AuditChainLink.number).join(AuditEntry).where(*behind)
    young = session.scalars(
        query.where(AuditEntry.created_at >= moment).order_by(AuditChainLink.number).limit(1)
    ).one_or_none()
    # A row deleted under its link, and all rows after it, are left for the verification to report.
    last = young - 1 if young else session.scalar(select(func.max(AuditChainLink.number)).where(*behind))
    return ChainPart(anchor, last) if last and last > anchor.number else None


def everything_chained(session: Session) -> ChainPart | None:
    """Return everything that is chained and not yet deleted."""
    exported = hash_chain.last_archive(session)
    anchor = Head(exported.last, exported.head, exported.newest_at) if exported else Head()
    last = hash_chain.head(session).number
    return ChainPart(anchor, last) if last > anchor.number else None


def rows(session: Session, part: ChainPart) -> Iterator[ChainedRow]:
    """Yield the rows of a part in order, some thousand in memory at a time."""
    return hash_chain.walk(session, part.anchor.number, part.last)


def record_export(session: Session, key: bytes, part: ChainPart, head: Head, *, file: str, sha256: str) -> AuditArchive:
    """Record that a part is stored in a file; from now on its rows may be deleted."""
    if head.happened_at is None:
        raise ValueError("nothing was exported")
    made = AuditArchive(
        first=part.first,
        last=part.last,
        anchor=part.anchor.hash,
        head=head.hash,
        newest_at=head.happened_at,
        file=file,
        sha256=sha256,
    )
    made.mark = chain_verification.mark_of(key, made)
    session.add(made)
    session.flush()
    return made


def delete_exported(session: Session) -> int:
    """Delete a batch of exported rows; return the number deleted."""
    exported = hash_chain.last_archive(session)
    if exported is None:
        return 0
    old = (
        select(AuditChainLink.entry_id)
        .where(AuditChainLink.number <= exported.last)
        .order_by(AuditChainLink.number)
        .limit(BATCH_SIZE)
    )
    gone = session.execute(delete(AuditEntry).where(AuditEntry.id.in_(old)).returning(AuditEntry.id))
    return len(gone.all())
