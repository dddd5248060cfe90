"""Unclaimed money: payments for deleted accounts, held on an account of its own until refunded or booked."""

import uuid
from decimal import Decimal

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from models.ledger import Account, AccountKind, Transfer
from models.payments import Payment, PaymentEvent, PaymentResult
from models.services.ledger import transfers


def holding_account(session: Session, payment: Payment) -> tuple[Account, Decimal]:
    """Return the account that holds a locked payment's ZNC, and how many ZNC are available there.

    That is the payer's wallet, whose row is locked; for a deleted user the account for unclaimed money.
    """
    wallet = transfers.locked_wallet(session, payment.user_id)
    if wallet.closed_at is None:
        return wallet, wallet.balance
    return transfers.system_account(session, AccountKind.UNCLAIMED), unclaimed_balance(session, "payment", payment.id)


def receiving_accounts(session: Session, payment: Payment, amount: Decimal) -> list[tuple[Account, Decimal]]:
    """Return the accounts to credit with ZNC of a locked payment: the wallet, where a credit repays a debt.

    For a deleted user: the debt first, the rest to the account for unclaimed money.
    """
    wallet = transfers.locked_wallet(session, payment.user_id)
    if wallet.closed_at is None:
        return [(wallet, amount)]
    parts = []
    if debt := min(amount, transfers.debt_of(session, payment.user_id)):
        parts.append((transfers.personal_account(session, payment.user_id, AccountKind.RECEIVABLE), debt))
    if amount > debt:
        parts.append((transfers.system_account(session, AccountKind.UNCLAIMED), amount - debt))
    return parts


def require_review(session: Session, payment_id: uuid.UUID) -> None:
    """Require a review of a payment's newest report, also if it was reviewed before."""
    newest = select(PaymentEvent.id).where(
        PaymentEvent.payment_id == payment_id, PaymentEvent.processed_at.is_not(None)
    )
    newest = newest.order_by(PaymentEvent.received_at.desc(), PaymentEvent.id).limit(1)
    session.execute(
        update(PaymentEvent)
        .where(PaymentEvent.id == newest.scalar_subquery())
        .values(
            needs_review=True,
            reviewed_at=None,
            reviewed_by=None,
            result=PaymentResult.ACCOUNT_DELETED,
            result_details={},
        )
        .execution_options(synchronize_session=False)
    )


def unclaimed_amount(session: Session, payment: Payment) -> Decimal | None:
    """Return the unclaimed ZNC of a deleted user's payment; None for a user who is not deleted."""
    if transfers.wallet_of(session, payment.user_id).closed_at is None:
        return None
    return unclaimed_balance(session, "payment", payment.id)


def unclaimed_balance(session: Session, kind: str, reference_id: uuid.UUID) -> Decimal:
    """Return the unclaimed ZNC of a payment, or of a deleted user's wallet (`user`)."""
    pool = transfers.system_account(session, AccountKind.UNCLAIMED)
    signed = case((Transfer.credit_account_id == pool.id, Transfer.amount), else_=-Transfer.amount)
    is_its = (Transfer.credit_account_id == pool.id) | (Transfer.debit_account_id == pool.id)
    about = (Transfer.reference_type == kind) & (Transfer.reference_id == reference_id)
    return session.scalar(select(func.sum(signed)).where(about, is_its)) or Decimal(0)
