"""Audit hash chain: a link for each audit row, records of exports, and results of verifications."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Moment

HASH_BYTES = 32


class AuditChainLink(Base):
    """The link of one audit row: its hash covers the row, its number and the previous hash.

    Links are only ever added; a trigger enforces this. A row and its link are deleted together after the export.
    """

    __tablename__ = "audit_seals"
    __table_args__ = (CheckConstraint("number > 0", name="number_positive"),)

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    entry_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("audit_entries.id", ondelete="CASCADE"), unique=True)
    sealed_at: Mapped[Moment]
    hash: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES))


class AuditArchive(Base):
    """An exported part of the chain, whose rows may be deleted: first and last hash, and a mark.

    `newest_at` is the time of its newest row; `mark` is a keyed hash over this record.
    """

    __tablename__ = "audit_archives"
    __table_args__ = (CheckConstraint("first > 0 AND last >= first", name="in_order"),)

    last: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(BigInteger, unique=True)
    anchor: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES))
    head: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES))
    newest_at: Mapped[Moment]
    file: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64))
    mark: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES))
    created_at: Mapped[CreatedAt]


class AuditCheck(Base):
    """One verification of the chain: how far it went, and the first error."""

    __tablename__ = "audit_checks"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    checked_at: Mapped[CreatedAt]
    number: Mapped[int] = mapped_column(BigInteger)
    head: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES))
    fault: Mapped[str] = mapped_column(String(300), default="")

    @property
    def is_sound(self) -> bool:
        return not self.fault
