"""Verification of the audit hash chain, in the database or in an exported file."""

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Literal

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.audit import AuditEntry
from models.audit_chain import AuditArchive, AuditChainLink, AuditCheck
from models.services.audit import hash_chain
from models.services.audit.hash_chain import ChainedRow, Head

What = Literal["altered", "removed", "inserted", "reordered", "cut off", "archive"]
_TEXTS: Mapping[What, str] = {
    "altered": "row {number} (id {entry}) was altered after it was chained",
    "removed": "row {number} (id {entry}) was removed",
    "inserted": "row {number} (id {entry}) was inserted later",
    "reordered": "row {number} (id {entry}) is in another row's position",
    "cut off": "the chained rows up to {number} were removed, or an older backup was restored",
    "archive": "the record of the export that ends with row {number} is forged or out of order",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first error found. `number` is a position in the chain, `entry` the id of an audit row."""

    what: What
    number: int | None
    entry: int | None = None

    def __str__(self) -> str:
        unknown = "?"
        return _TEXTS[self.what].format(
            number=unknown if self.number is None else f"{self.number:,}", entry=self.entry or unknown
        )


@dataclass(frozen=True, slots=True)
class ChainReport:
    """Result of a verification: rows, end of the chain, pending rows, exports, and the first error."""

    rows: int
    head: Head
    waiting: int
    archives: int
    fault: Fault | None

    @property
    def is_sound(self) -> bool:
        return self.fault is None


class Checker:
    """Follows a chain from one of its hashes; called in the order of the rows."""

    def __init__(self, key: bytes, number: int, before: bytes, happened_at: datetime | None = None) -> None:
        self._key = key
        self.head = Head(number, before, happened_at)
        self.rows = 0

    def check(self, chained: ChainedRow) -> Fault | None:
        """Return the error of the next row, or None."""
        due = self.head.number + 1
        if chained.number != due:
            return Fault("removed" if chained.number > due else "reordered", min(due, chained.number))
        if chained.facts is None:
            return Fault("removed", chained.number, chained.entry_id)
        if not self.fits(chained):
            return Fault("altered", chained.number, chained.entry_id)
        happened = datetime.fromisoformat(chained.facts["created_at"])
        floor = self.head.floor(chained.sealed_at)
        if floor is not None and happened < floor:
            return Fault("inserted", chained.number, chained.entry_id)
        newest = max(happened, self.head.happened_at or happened)
        self.head = Head(chained.number, chained.hash, min(newest, chained.sealed_at), chained.sealed_at)
        self.rows += 1
        return None

    def fits(self, chained: ChainedRow) -> bool:
        """Return whether a row fits after the last one."""
        return hmac.compare_digest(hash_chain.hash_of(self._key, self.head.hash, chained), chained.hash)

    def explain(self, fault: Fault, others: Sequence[ChainedRow]) -> Fault:
        """Refine an error of a changed row, using the rows from its position on."""
        if fault.what != "altered" or not others:
            return fault
        here, *later = others
        for number, other in enumerate(later):
            if self.fits(replace(other, number=here.number)):
                # If only this row is extra, the next one fits here and all others after it.
                return replace(fault, what="inserted" if number == 0 and self._follows(later) else "reordered")
            if other.facts and self.fits(replace(here, facts=other.facts)):
                return replace(fault, what="reordered")
        return fault

    def _follows(self, later: Sequence[ChainedRow]) -> bool:
        aside = Checker(self._key, self.head.number, self.head.hash)
        first = self.head.number + 1
        return all(aside.check(replace(row, number=first + offset)) is None for offset, row in enumerate(later[:2]))


def verify(session: Session, key: bytes, *, recorded: Mapping[int, bytes] | None = None) -> ChainReport:
    """Verify the whole chain in one snapshot; `recorded` are hashes recorded elsewhere, by number."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    session.execute(text("SET LOCAL statement_timeout = 0"))
    return verify_and_record(session, key, recorded=recorded or {})


def verify_and_record(session: Session, key: bytes, *, recorded: Mapping[int, bytes]) -> ChainReport:
    """Verify the chain within the caller's transaction; see `verify`."""
    archives = session.scalars(select(AuditArchive).order_by(AuditArchive.last)).all()
    number, before = 0, hash_chain.START
    for archive in archives:
        if (archive.first, archive.anchor, archive.mark) != (number + 1, before, mark_of(key, archive)):
            return ChainReport(0, Head(number, before), 0, len(archives), Fault("archive", archive.last))
        number, before = archive.last, archive.head
    checker = Checker(key, number, before, archives[-1].newest_at if archives else None)
    fault = _walked(session, checker, recorded) or _backdated(session, checker.head)
    last = checker.head
    if fault is None and recorded and max(recorded) > last.number:
        fault = Fault("cut off", max(recorded))
    return ChainReport(checker.rows, last, hash_chain.status(session).waiting, len(archives), fault)


def verify_lines(key: bytes, rows: Iterable[ChainedRow], *, number: int, before: bytes) -> tuple[Head, Fault | None]:
    """Verify an exported chain from the number and hash before it; return its end and the first error."""
    checker, following = Checker(key, number, before), iter(rows)
    for chained in following:
        if fault := checker.check(chained):
            return checker.head, checker.explain(fault, [chained, *islice(following, hash_chain.BATCH_SIZE)])
    return checker.head, None


def mark_of(key: bytes, archive: AuditArchive) -> bytes:
    """Return the mark that the record of an export must carry."""
    hashes = (archive.anchor.hex(), archive.head.hex(), archive.sha256)
    covered = ["export", archive.first, archive.last, archive.file, *hashes]
    return hmac.digest(key, json.dumps(covered).encode(), "sha256")


def record_check(session: Session, report: ChainReport) -> AuditCheck:
    """Store the result of a verification."""
    check = AuditCheck(number=report.head.number, head=report.head.hash, fault=str(report.fault or "")[:300])
    session.add(check)
    session.flush()
    return check


def last_check(session: Session) -> AuditCheck | None:
    """Return the newest verification."""
    return session.scalars(select(AuditCheck).order_by(AuditCheck.id.desc()).limit(1)).one_or_none()


def _walked(session: Session, checker: Checker, recorded: Mapping[int, bytes]) -> Fault | None:
    for chained in hash_chain.walk(session, checker.head.number):
        fault = checker.check(chained)
        if fault is None and recorded.get(chained.number, chained.hash) != chained.hash:
            fault = Fault("altered", chained.number, chained.entry_id)
        if fault is not None:
            return checker.explain(fault, _from(session, chained))
    return None


def _from(session: Session, chained: ChainedRow) -> list[ChainedRow]:
    return list(islice(_rows(session, chained.number - 1), hash_chain.BATCH_SIZE))


def _rows(session: Session, after: int) -> Iterator[ChainedRow]:
    return (chained for chained in hash_chain.walk(session, after) if chained.facts is not None)


def _backdated(session: Session, last: Head) -> Fault | None:
    """Find a row that was never chained although its time is old: it was inserted later."""
    floor = last.floor(hash_chain.now(session))
    if floor is None:
        return None
    query = select(AuditEntry.id).outerjoin(AuditChainLink, AuditChainLink.entry_id == AuditEntry.id)
    query = query.where(AuditChainLink.number.is_(None), AuditEntry.created_at < floor)
    found = session.scalars(query.order_by(AuditEntry.id).limit(1)).one_or_none()
    return None if found is None else Fault("inserted", None, found)
