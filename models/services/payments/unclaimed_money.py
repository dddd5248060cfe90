"""Unclaimed money: payments for deleted accounts, held on an account of its own until refunded or booked."""

import uuid
from decimal import Decimal

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from models.ledger import Account, AccountKind, Transfer
from models.payments import Payment, PaymentEvent, PaymentResult
from models.services.ledger import transfers


def holder(session: Session, payment: Payment) -> tuple[Account, Decimal]:
    """Return the account that holds a locked payment's ZNC, and how many it can give.

    That is the payer's wallet, whose row is locked; for a deleted user what of the payment nobody has claimed.
    """
    wallet = transfers.locked_wallet(session, payment.user_id)
    if wallet.closed_at is None:
        return wallet, wallet.balance
    return transfers.system_account(session, AccountKind.UNCLAIMED), of_reference(session, "payment", payment.id)


def receivers(session: Session, payment: Payment, amount: Decimal) -> list[tuple[Account, Decimal]]:
    """Return to which accounts ZNC of a locked payment go: to the wallet, which repays a debt by itself.

    Those for a deleted user repay the debt, and the rest is kept apart.
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


def put_before_an_admin(session: Session, payment_id: uuid.UUID) -> None:
    """Let the newest report of a payment wait for an admin, again if one has looked at it before."""
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


def of_payment(session: Session, payment: Payment) -> Decimal | None:
    """Return how many ZNC of a deleted user's payment are unclaimed; None for a user who is not deleted."""
    if transfers.wallet_of(session, payment.user_id).closed_at is None:
        return None
    return of_reference(session, "payment", payment.id)


def of_reference(session: Session, kind: str, reference_id: uuid.UUID) -> Decimal:
    """Return how many ZNC of a payment, or of a deleted user's wallet (`user`), are unclaimed."""
    pool = transfers.system_account(session, AccountKind.UNCLAIMED)
    signed = case((Transfer.credit_account_id == pool.id, Transfer.amount), else_=-Transfer.amount)
    is_its = (Transfer.credit_account_id == pool.id) | (Transfer.debit_account_id == pool.id)
    about = (Transfer.reference_type == kind) & (Transfer.reference_id == reference_id)
    return session.scalar(select(func.sum(signed)).where(about, is_its)) or Decimal(0)
