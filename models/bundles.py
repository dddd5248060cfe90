"""Bundles: several tokens at a discount."""

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, func, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Moment, Short, UuidKey, Znc
from models.users import User


class Bundle(Base):
    """An offer. Its price follows from the price list and the discount; a withdrawn one is kept."""

    __tablename__ = "bundles"
    __table_args__ = (
        CheckConstraint("token_count BETWEEN 2 AND 100", name="token_count"),
        CheckConstraint("discount_percent BETWEEN 0 AND 90", name="discount_percent"),
    )

    id: Mapped[UuidKey]
    name: Mapped[str] = mapped_column(String(50))
    description: Mapped[str] = mapped_column(String(200), default="")
    token_count: Mapped[int]
    duration_hours: Mapped[int]
    scope: Mapped[Short]
    discount_percent: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[Moment] = mapped_column(server_default=text("now()"), onupdate=func.now())


class BundlePurchase(Base):
    """One sale. `price_paid` was debited from the wallet; the shares of its tokens add up to it."""

    __tablename__ = "bundle_purchases"
    __table_args__ = (
        CheckConstraint("price_paid > 0", name="price_positive"),
        Index("ix_bundle_purchases_user_id_created_at", "user_id", "created_at"),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    bundle_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("bundles.id", ondelete="RESTRICT"))
    bundle_name: Mapped[str] = mapped_column(String(50))
    token_count: Mapped[int]
    price_paid: Mapped[Znc]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    user: Mapped[User] = relationship()
