"""Payments: roubles in, ZNC out, through a provider that tells us by callback."""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Short, UuidKey, Znc, word
from models.users import User


class PaymentStatus(StrEnum):
    """Only `pending` moves on; `expired` is our own word and may still be settled (contract.md, late payment)."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    EXPIRED = "expired"


class Payment(Base):
    """A top-up. The rate is kept, so that a later change of price rewrites no history."""

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("provider", "provider_payment_id"),
        CheckConstraint("amount_znc > 0", name="amount_znc_positive"),
        CheckConstraint("amount_rub > 0", name="amount_rub_positive"),
        CheckConstraint("(status = 'succeeded') = (settled_at IS NOT NULL)", name="settled"),
        Index("ix_payments_user_id_created_at", "user_id", "created_at"),
        Index("ix_payments_pending", "created_at", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    provider: Mapped[Short]
    provider_payment_id: Mapped[str | None] = mapped_column(String(120))
    amount_znc: Mapped[Znc]
    amount_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    rub_per_znc: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    status: Mapped[PaymentStatus] = mapped_column(word(PaymentStatus), default=PaymentStatus.PENDING)
    return_url: Mapped[str] = mapped_column(String(500))
    checkout_url: Mapped[str] = mapped_column(String(500), default="")
    expires_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]

    user: Mapped[User] = relationship()


class PaymentEvent(Base):
    """A callback that passed its provider's verification, kept under the provider's own event id."""

    __tablename__ = "payment_events"
    __table_args__ = (
        UniqueConstraint("provider", "event_id"),
        Index("ix_payment_events_waiting", "received_at", postgresql_where=text("processed_at IS NULL")),
    )

    id: Mapped[UuidKey]
    provider: Mapped[Short]
    event_id: Mapped[str] = mapped_column(String(120))
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payments.id", ondelete="RESTRICT"), index=True)
    outcome: Mapped[Short]
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    received_at: Mapped[CreatedAt]
    processed_at: Mapped[datetime | None]
    result: Mapped[str | None] = mapped_column(String(200))

    payment: Mapped[Payment] = relationship()


class MockCheckout(Base):
    """The mock provider's own books: what its customer decided on its checkout page."""

    __tablename__ = "mock_checkouts"

    id: Mapped[UuidKey]
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payments.id", ondelete="RESTRICT"), unique=True)
    amount_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    outcome: Mapped[str | None] = mapped_column(String(20))
    event_id: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
    decided_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
