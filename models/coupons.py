"""Coupons: discount codes for purchases."""

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, func, text, true
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Short, UuidKey, Znc


class Coupon(Base):
    """A percentage or an amount off. Codes are public, so they are stored as they are."""

    __tablename__ = "coupons"
    __table_args__ = (
        Index("uq_coupons_code", func.upper(text("code")), unique=True),
        CheckConstraint("(percent IS NULL) <> (amount IS NULL)", name="percent_or_amount"),
        CheckConstraint("percent > 0 AND percent < 100", name="percent"),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("uses_in_all > 0 AND uses_per_user > 0", name="uses_positive"),
    )

    id: Mapped[UuidKey]
    code: Mapped[str] = mapped_column(String(32))
    percent: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    amount: Mapped[Znc | None]
    uses_in_all: Mapped[int | None]
    uses_per_user: Mapped[int | None]
    valid_until: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[CreatedAt]


class CouponUse(Base):
    """One purchase with a coupon."""

    __tablename__ = "coupon_uses"
    __table_args__ = (
        CheckConstraint("discount > 0", name="discount_positive"),
        Index("ix_coupon_uses_coupon_id_user_id", "coupon_id", "user_id"),
        Index("uq_coupon_uses_reference", "reference_type", "reference_id", unique=True),
    )

    id: Mapped[UuidKey]
    coupon_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("coupons.id", ondelete="RESTRICT"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    discount: Mapped[Znc]
    reference_type: Mapped[Short]
    reference_id: Mapped[uuid.UUID]
    created_at: Mapped[CreatedAt]
