"""Payments: RUB in, ZNC out, through a provider that reports by callback."""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint, false, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Short, UuidKey, Znc, enum_column
from models.users import User


class PaymentStatus(StrEnum):
    """A payment's status. `MOVES` lists every allowed transition."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    EXPIRED = "expired"
    # Refunded in full; a partly refunded one stays `succeeded`.
    REFUNDED = "refunded"


# Allowed status changes: docs/spec/business-rules.md#late-payment. A dispute that was won undoes a refund.
MOVES = {
    PaymentStatus.PENDING: {PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED, PaymentStatus.EXPIRED},
    PaymentStatus.EXPIRED: {PaymentStatus.SUCCEEDED, PaymentStatus.CANCELED},
    PaymentStatus.SUCCEEDED: {PaymentStatus.REFUNDED},
    PaymentStatus.REFUNDED: {PaymentStatus.SUCCEEDED},
    PaymentStatus.CANCELED: set(),
}


class PaymentFailure(StrEnum):
    """Why a payment failed, as far as its provider or payer has said."""

    DECLINED = "declined"
    ABANDONED = "abandoned"
    WITHDRAWN = "withdrawn"


class PaymentResult(StrEnum):
    """Result of processing a provider's report; `PaymentEvent.result_details` has the parameters."""

    CREDITED = "credited"
    CANCELED = "canceled"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    DISPUTED = "disputed"
    DISPUTE_WON = "dispute_won"
    ACCOUNT_DELETED = "account_deleted"
    AMOUNT_DIFFERS = "amount_differs"
    AMOUNT_EXCEEDS_PAYMENT = "amount_exceeds_payment"
    AMOUNT_MISMATCH = "amount_mismatch"
    DISPUTE_UNKNOWN = "dispute_unknown"
    DISPUTE_STATE = "dispute_state"
    REFUND_STATE = "refund_state"
    PAYMENT_STATE = "payment_state"
    PAYMENT_UNKNOWN = "payment_unknown"
    UNREADABLE = "unreadable"
    # Never stored: the payment is not settled or not known yet, and the event is acted on later.
    WAITING = "waiting"


class Payment(Base):
    """A top-up. The rate is stored, so a later change of price rewrites no history."""

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("provider", "provider_payment_id"),
        UniqueConstraint("provider", "provider_charge_id"),
        CheckConstraint("amount_znc > 0", name="amount_znc_positive"),
        CheckConstraint("amount_rub > 0", name="amount_rub_positive"),
        CheckConstraint("(status IN ('succeeded', 'refunded')) = (settled_at IS NOT NULL)", name="settled"),
        CheckConstraint("returned_znc BETWEEN 0 AND amount_znc", name="returned_znc_within"),
        CheckConstraint("returned_rub BETWEEN 0 AND amount_rub", name="returned_rub_within"),
        CheckConstraint("(status = 'refunded') = (returned_rub = amount_rub)", name="refunded_in_full"),
        CheckConstraint("returned_rub = 0 OR settled_at IS NOT NULL", name="returned_after_settled"),
        Index("ix_payments_user_id_created_at", "user_id", "created_at"),
        Index("ix_payments_created_at", text("created_at DESC"), "id"),
        Index("ix_payments_status", "status", text("created_at DESC"), "id"),
        Index("ix_payments_settled_at", "settled_at", postgresql_where=text("settled_at IS NOT NULL")),
        Index("ix_payments_check_at", "check_at", postgresql_where=text("check_at IS NOT NULL")),
        Index("ix_payments_pending", "created_at", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    provider: Mapped[Short]
    provider_payment_id: Mapped[str | None] = mapped_column(String(120))
    # Some providers' second id of the payment once it is paid, used in refunds and disputes.
    provider_charge_id: Mapped[str | None] = mapped_column(String(120))
    amount_znc: Mapped[Znc]
    amount_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    rub_per_znc: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    status: Mapped[PaymentStatus] = mapped_column(enum_column(PaymentStatus), default=PaymentStatus.PENDING)
    return_url: Mapped[str] = mapped_column(String(500))
    checkout_url: Mapped[str] = mapped_column(String(2000), default="")
    expires_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    # Refunded to the payer so far, or in progress; see PaymentReversal.
    returned_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2), default=0, server_default=text("0"))
    returned_znc: Mapped[Znc] = mapped_column(default=0, server_default=text("0"))
    # When the provider is queried next, and how many queries in a row it has not answered.
    check_at: Mapped[datetime | None]
    check_failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    failure: Mapped[PaymentFailure | None] = mapped_column(enum_column(PaymentFailure))
    created_at: Mapped[CreatedAt]

    user: Mapped[User] = relationship()


class ReversalKind(StrEnum):
    """Why money is returned: our refund, or the bank's chargeback."""

    REFUND = "refund"
    DISPUTE = "dispute"


class ReversalState(StrEnum):
    """`requested`: an admin's refund that the provider has not carried out yet."""

    REQUESTED = "requested"
    DONE = "done"
    # The provider refused, or the bank returned the money: its ZNC are the user's again.
    REFUSED = "refused"
    WON = "won"


# Reversals whose ZNC are debited.
IN_FORCE = (ReversalState.REQUESTED, ReversalState.DONE)


class ReversalCause(StrEnum):
    """Why the platform itself booked a reversal, or undid one."""

    ACCOUNT_DELETED = "account_deleted"
    DISPUTED_BY_BANK = "disputed_by_bank"
    FAILED_AT_PROVIDER = "failed_at_provider"
    REFUNDED_AT_PROVIDER = "refunded_at_provider"


class PaymentReversal(Base):
    """Money of one payment that is returned to the payer, and the ZNC debited for it.

    `provider_key` is the provider's id of the refund or dispute, so that a repeated report is booked once. An undone
    one may be booked again under the same id: a bank can withdraw the money of a dispute a second time.
    """

    __tablename__ = "payment_reversals"
    __table_args__ = (
        Index(
            "uq_payment_reversals_in_force",
            *("payment_id", "provider_key"),
            unique=True,
            postgresql_where=text("state IN ('requested', 'done')"),
        ),
        Index("ix_payment_reversals_payment_id", "payment_id", "created_at"),
        CheckConstraint("amount_rub > 0 AND amount_znc >= 0", name="amounts"),
        CheckConstraint("(state = 'requested') = (ended_at IS NULL)", name="ended"),
        Index("ix_payment_reversals_created_at", "created_at"),
        Index("ix_payment_reversals_requested", "retry_at", postgresql_where=text("state = 'requested'")),
    )

    id: Mapped[UuidKey]
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payments.id", ondelete="RESTRICT"))
    kind: Mapped[ReversalKind] = mapped_column(enum_column(ReversalKind))
    state: Mapped[ReversalState] = mapped_column(enum_column(ReversalState))
    amount_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    amount_znc: Mapped[Znc]
    # An admin's reason and note are texts; the platform's own are causes.
    reason: Mapped[str] = mapped_column(String(200), default="", server_default="")
    cause: Mapped[ReversalCause | None] = mapped_column(enum_column(ReversalCause))
    end_cause: Mapped[ReversalCause | None] = mapped_column(enum_column(ReversalCause))
    actor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    provider_key: Mapped[str | None] = mapped_column(String(120))
    note: Mapped[str] = mapped_column(String(200), default="")
    # When the provider is asked again to carry it out, and how many requests in a row have failed.
    retry_at: Mapped[CreatedAt]
    failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[datetime | None]

    payment: Mapped[Payment] = relationship()


class PaymentEvent(Base):
    """A provider's report, received by a signed callback or by a query, stored under the provider's event id.

    `amount_rub` is in `currency`, which differs from RUB only in events that need a review. `payment_id` is empty while
    none of our payments has the `provider_payment_id` of the event: a provider may report a refund before it reports
    the second id under which it was paid.
    """

    __tablename__ = "payment_events"
    __table_args__ = (
        UniqueConstraint("provider", "event_id"),
        CheckConstraint("reviewed_at IS NULL OR needs_review", name="reviewed_if_needed"),
        CheckConstraint("payment_id IS NOT NULL OR NOT needs_review", name="review_of_a_payment"),
        Index("ix_payment_events_waiting", "retry_at", postgresql_where=text("processed_at IS NULL")),
        Index("ix_payment_events_review", "received_at", postgresql_where=text("needs_review AND reviewed_at IS NULL")),
    )

    id: Mapped[UuidKey]
    provider: Mapped[Short]
    event_id: Mapped[str] = mapped_column(String(120))
    payment_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("payments.id", ondelete="RESTRICT"), index=True)
    provider_payment_id: Mapped[str] = mapped_column(String(120), default="", server_default="")
    outcome: Mapped[Short]
    amount_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    currency: Mapped[str] = mapped_column(String(3), default="RUB", server_default="RUB")
    failure: Mapped[PaymentFailure | None] = mapped_column(enum_column(PaymentFailure))
    refund_id: Mapped[str | None] = mapped_column(String(120))
    refund_key: Mapped[str | None] = mapped_column(String(120))
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    received_at: Mapped[CreatedAt]
    retry_at: Mapped[CreatedAt]
    processed_at: Mapped[datetime | None]
    # A PaymentResult; a text while an instance of a former version is still running.
    result: Mapped[str | None] = mapped_column(String(200))
    result_details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))
    # Events that no rule can decide are left to an admin, who records the decision.
    needs_review: Mapped[bool] = mapped_column(default=False, server_default=false())
    reviewed_at: Mapped[datetime | None]
    reviewed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    review_note: Mapped[str] = mapped_column(String(200), default="", server_default="")

    payment: Mapped[Payment] = relationship()


class MockCheckout(Base):
    """The mock provider's own record: its customer's decision on the checkout page.

    As with any provider, a checkout is opened before our payment is stored, so the reference is checked at the commit.
    """

    __tablename__ = "mock_checkouts"

    id: Mapped[UuidKey]
    payment_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("payments.id", deferrable=True, initially="DEFERRED"), unique=True
    )
    amount_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    outcome: Mapped[str | None] = mapped_column(String(20))
    event_id: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
    decided_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
