"""Audit hash chain: each link's hash covers an audit row and the previous hash (docs/adr/0009).

Rows are chained after their commit, under one lock, in the order of their ids; no transaction that writes rows waits
for another. The hash is keyed, so that write access to the database alone is not enough to forge the chain.
"""

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Row, Select, String, func, insert, select, type_coerce
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditEntry
from models.audit_chain import HASH_BYTES, AuditArchive, AuditChainLink
from models.config.server import Tokens

# The hash before the first row.
START = bytes(HASH_BYTES)
# Rows chained in one transaction, and read at once.
BATCH_SIZE = 2000
COUNTED = 1000
# No transaction of ours lasts longer: a row that appears later among older ones was backdated.
LATE = timedelta(minutes=10)
_LOCK = 0x5A454E5A_41554454
_COLUMNS = (
    AuditEntry.id,
    AuditEntry.created_at,
    type_coerce(AuditEntry.action, String).label("action"),
    AuditEntry.actor_id,
    AuditEntry.user_id,
    AuditEntry.resource_type,
    AuditEntry.resource_id,
    AuditEntry.ip_address,
    AuditEntry.user_agent,
    AuditEntry.request_id,
    type_coerce(AuditEntry.origin, String).label("origin"),
    AuditEntry.details,
)

type Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: last number and hash, and when the last row happened and was chained."""

    number: int = 0
    hash: bytes = START
    happened_at: datetime | None = None
    sealed_at: datetime | None = None

    def floor(self, moment: datetime) -> datetime | None:
        """Return the earliest time of a row that is chained at `moment` or still pending then.

        After the wall clock stepped back, `moment` lies before the last row: then the newest known time counts.
        """
        moments = [known for known in (self.happened_at, self.sealed_at) if known is not None]
        return min(*moments, moment) - LATE if moments else None


@dataclass(frozen=True, slots=True)
class ChainedRow:
    """A link with the audit row it covers, ready for JSON; None where the row no longer exists."""

    number: int
    sealed_at: datetime
    hash: bytes
    entry_id: int
    facts: Facts | None

    def as_json(self) -> dict[str, Any]:
        """Return it as exported JSON."""
        at = _moment(self.sealed_at)
        return {"number": self.number, "sealed_at": at, "hash": self.hash.hex(), "entry": self.facts}

    @classmethod
    def of_json(cls, line: str | bytes) -> Self:
        """Parse an exported row. Raises ValueError."""
        try:
            document = json.loads(line)
            at, facts = datetime.fromisoformat(document["sealed_at"]), dict(document["entry"])
            return cls(int(document["number"]), at, bytes.fromhex(document["hash"]), int(facts["id"]), facts)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a row of an audit log: {error}") from None


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """Last chained row, number of pending rows (counted up to `COUNTED`), and since when they are pending."""

    number: int
    sealed_at: datetime | None
    waiting: int
    oldest: datetime | None

    @property
    def seconds(self) -> float:
        """Seconds that the first row has been pending."""
        return max((clock.now() - self.oldest).total_seconds(), 0.0) if self.oldest else 0.0


def key_of(tokens: Tokens) -> bytes:
    """Derive the chain's key from the one secret that never changes while tokens are sold."""
    key = HKDF(SHA256(), HASH_BYTES, salt=None, info=b"zenzefi audit chain")
    return key.derive(tokens.hash_key.get_secret_value().encode())


def hash_of(key: bytes, before: bytes, chained: ChainedRow) -> bytes:
    """Return the hash that a row's link must have after the previous hash."""
    covered = [chained.number, _moment(chained.sealed_at), chained.facts]
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, before + text.encode(), "sha256")


def chain_new_rows(session: Session, key: bytes) -> int:
    """Chain the committed rows of one batch; return how many. Does nothing while another process holds the lock."""
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
        return 0
    last, moment, links = head(session), now(session), []
    number, before = last.number, last.hash
    for row in session.execute(_unsealed(last, moment, *_COLUMNS).order_by(AuditEntry.id).limit(BATCH_SIZE)):
        number += 1
        chained = ChainedRow(number, moment, b"", row.id, _facts(row))
        before = hash_of(key, before, chained)
        links.append({"number": number, "entry_id": row.id, "sealed_at": moment, "hash": before})
    if links:
        session.execute(insert(AuditChainLink), links)
    return len(links)


def has_new_rows(session: Session) -> bool:
    """Return whether there are committed rows to chain."""
    query = _unsealed(head(session), now(session), AuditEntry.id).limit(1)
    return session.execute(query).first() is not None


def now(session: Session) -> datetime:
    """Return the time by the slower of our clock and the database's.

    Rows carry the database's time; if only its clock stepped back, the links have to show that too.
    """
    of_database: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return min(clock.now(), of_database)


def head(session: Session) -> Head:
    """Return the end of the chain; that of the last export when nothing was chained since."""
    query = select(AuditChainLink.number, AuditChainLink.hash, AuditEntry.created_at, AuditChainLink.sealed_at)
    found = session.execute(
        query.outerjoin(AuditEntry, AuditEntry.id == AuditChainLink.entry_id)
        .order_by(AuditChainLink.number.desc())
        .limit(1)
    ).first()
    if found is not None:
        return Head(*found)
    exported = last_archive(session)
    return Head(exported.last, exported.head, exported.newest_at) if exported else Head()


def last_archive(session: Session) -> AuditArchive | None:
    """Return the record of the newest export."""
    return session.scalars(select(AuditArchive).order_by(AuditArchive.last.desc()).limit(1)).one_or_none()


def status(session: Session) -> ChainStatus:
    """Return how far the log is chained."""
    last = head(session)
    first = (
        _unsealed(last, now(session), AuditEntry.created_at).order_by(AuditEntry.created_at).limit(COUNTED).subquery()
    )
    waiting, oldest = session.execute(select(func.count(), func.min(first.c.created_at))).one()
    return ChainStatus(last.number, last.sealed_at, waiting, oldest)


def walk(session: Session, after: int, until: int | None = None) -> Iterator[ChainedRow]:
    """Yield the chain after a number, one batch in memory at a time."""
    query = select(
        AuditChainLink.number, AuditChainLink.sealed_at, AuditChainLink.hash, AuditChainLink.entry_id, *_COLUMNS
    )
    query = (
        query.outerjoin(AuditEntry, AuditEntry.id == AuditChainLink.entry_id)
        .order_by(AuditChainLink.number)
        .limit(BATCH_SIZE)
    )
    if until is not None:
        query = query.where(AuditChainLink.number <= until)
    while found := session.execute(query.where(AuditChainLink.number > after)).all():
        for row in found:
            yield ChainedRow(row.number, row.sealed_at, row.hash, row.entry_id, None if row.id is None else _facts(row))
        after = found[-1].number


def _unsealed(last: Head, moment: datetime, *columns: Any) -> Select[Any]:
    query = select(*columns).select_from(AuditEntry).outerjoin(AuditChainLink, AuditChainLink.entry_id == AuditEntry.id)
    query = query.where(AuditChainLink.number.is_(None))
    floor = last.floor(moment)
    return query if floor is None else query.where(AuditEntry.created_at >= floor)


def _facts(row: Row[Any]) -> Facts:
    document = {column.key: getattr(row, column.key) for column in _COLUMNS}
    for name in ("actor_id", "user_id", "resource_id"):
        document[name] = None if document[name] is None else str(document[name])
    return {**document, "created_at": _moment(row.created_at)}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
