"""Gift codes: ZNC for the holder of a code."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text, true
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, UuidKey, Znc


class GiftCode(Base):
    """A code, stored as a keyed hash; `prefix` identifies it in the admin area."""

    __tablename__ = "gift_codes"
    __table_args__ = (
        CheckConstraint("amount_znc > 0", name="amount_positive"),
        CheckConstraint("uses BETWEEN 0 AND uses_in_all", name="uses_within"),
        Index("ix_gift_codes_created_at", "created_at"),
    )

    id: Mapped[UuidKey]
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    prefix: Mapped[str] = mapped_column(String(8))
    amount_znc: Mapped[Znc]
    uses_in_all: Mapped[int]
    uses: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    valid_until: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    note: Mapped[str] = mapped_column(String(200))
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    created_at: Mapped[CreatedAt]


class GiftRedemption(Base):
    """One code redeemed by one user; nobody redeems the same code twice."""

    __tablename__ = "gift_redemptions"
    __table_args__ = (UniqueConstraint("gift_code_id", "user_id"),)

    id: Mapped[UuidKey]
    gift_code_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("gift_codes.id", ondelete="RESTRICT"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    amount_znc: Mapped[Znc]
    created_at: Mapped[CreatedAt]
