"""Ledger: accounts and transfers between them, after the TigerBeetle model, and results of verifications."""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Short, UuidKey, Znc, enum_column
from models.users import User


class AccountKind(StrEnum):
    """A user has one of each of `PERSONAL`; all others are the platform's own, one of each."""

    WALLET = "wallet"
    # Pending balance: bonuses whose purchase can still be refunded.
    HELD = "held"
    # A user's debt after a chargeback that the wallet could not cover: zero or below.
    RECEIVABLE = "receivable"
    PAYMENTS_RECEIVED = "payments_received"
    SALES = "sales"
    ADJUSTMENTS = "adjustments"
    BONUSES = "bonuses"
    GIFTS = "gifts"
    # Money received for a deleted account: an admin decides, or it is refunded to the payer.
    UNCLAIMED = "unclaimed"


PERSONAL = (AccountKind.WALLET, AccountKind.HELD, AccountKind.RECEIVABLE)


class TransferKind(StrEnum):
    """What a transfer is for; users see it as the type of a transaction."""

    DEPOSIT = "deposit"
    PURCHASE = "purchase"
    REFUND = "refund"
    REFERRAL_BONUS = "referral_bonus"
    ADJUSTMENT = "adjustment"
    GIFT = "gift"
    REVERSAL = "reversal"


class TransferPurpose(StrEnum):
    """What a transfer was for, more exactly than its kind; `Transfer.details` has the parameters of the text."""

    TOPUP = "topup"
    TOKEN_PURCHASE = "token_purchase"  # noqa: S105 - no password
    TOKEN_EXTENSION = "token_extension"  # noqa: S105 - no password
    TOKEN_REFUND = "token_refund"  # noqa: S105 - no password
    BUNDLE_PURCHASE = "bundle_purchase"
    GIFT_CODE = "gift_code"
    REFERRAL_BONUS_PENDING = "referral_bonus_pending"
    REFERRAL_BONUS = "referral_bonus"
    REFERRAL_BONUS_REVERSED = "referral_bonus_reversed"
    PAYMENT_REFUNDED = "payment_refunded"
    PAYMENT_DISPUTED = "payment_disputed"
    DISPUTE_WON = "dispute_won"
    REFUND_REJECTED = "refund_rejected"
    DEBT_REPAID = "debt_repaid"
    FORMER_ACCOUNT_DEBT = "former_account_debt"
    FORMER_ACCOUNT_MONEY = "former_account_money"


class Account(Base):
    """A balance in ZNC: credits less debits. The sum over all accounts is zero."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("(kind IN ('wallet', 'held', 'receivable')) = (user_id IS NOT NULL)", name="owner"),
        CheckConstraint("kind NOT IN ('wallet', 'held') OR balance >= 0", name="own_not_negative"),
        CheckConstraint("kind <> 'receivable' OR balance <= 0", name="receivable_not_positive"),
        Index("uq_accounts_personal", "user_id", "kind", unique=True, postgresql_where=text("user_id IS NOT NULL")),
        Index("ix_accounts_wallet_balance", "balance", "user_id", postgresql_where=text("kind = 'wallet'")),
        Index("ix_accounts_debts", "balance", postgresql_where=text("kind = 'receivable' AND balance < 0")),
        Index("uq_accounts_system", "kind", unique=True, postgresql_where=text("user_id IS NULL")),
    )

    id: Mapped[UuidKey]
    kind: Mapped[AccountKind] = mapped_column(enum_column(AccountKind))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    balance: Mapped[Znc] = mapped_column(default=Decimal(0), server_default=text("0"))
    # Set for a deleted user: nothing is credited any more.
    closed_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]

    user: Mapped[User | None] = relationship()


class Transfer(Base):
    """One ledger entry; rows are only ever added (a trigger enforces this)."""

    __tablename__ = "transfers"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("debit_account_id <> credit_account_id", name="two_accounts"),
        # Counts, sums and pages of a wallet need only these indexes (models/services/ledger/wallet_history.py).
        Index(
            "ix_transfers_debit_account_id_created_at",
            *("debit_account_id", "created_at", "id"),
            postgresql_include=["amount", "kind"],
        ),
        Index(
            "ix_transfers_credit_account_id_created_at",
            *("credit_account_id", "created_at", "id"),
            postgresql_include=["amount", "kind"],
        ),
        Index("ix_transfers_reference", "reference_type", "reference_id"),
        Index(
            "ix_transfers_sold", "created_at", postgresql_include=["amount"], postgresql_where=text("kind = 'purchase'")
        ),
    )

    id: Mapped[UuidKey]
    kind: Mapped[TransferKind] = mapped_column(enum_column(TransferKind))
    debit_account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="RESTRICT"))
    credit_account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("accounts.id", ondelete="RESTRICT"))
    amount: Mapped[Znc]
    # Empty for an adjustment, whose `description` is the admin's own text; no other transfer has one.
    purpose: Mapped[TransferPurpose | None] = mapped_column(enum_column(TransferPurpose))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))
    description: Mapped[str] = mapped_column(String(200), default="", server_default="")
    reference_type: Mapped[Short]
    reference_id: Mapped[uuid.UUID]
    idempotency_key: Mapped[str] = mapped_column(String(120), unique=True)
    actor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    # Not now(), which is constant in a transaction: the repayment of a debt comes after the deposit.
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"), index=True)

    debit_account: Mapped[Account] = relationship(foreign_keys=[debit_account_id])
    credit_account: Mapped[Account] = relationship(foreign_keys=[credit_account_id])


class LedgerCheck(Base):
    """One ledger verification; `faults` has the first rows of each broken rule."""

    __tablename__ = "ledger_checks"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    checked_at: Mapped[CreatedAt]
    is_sound: Mapped[bool]
    faults: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
