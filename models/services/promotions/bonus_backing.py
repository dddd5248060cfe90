"""Backing of purchases: how much was paid with the buyer's own money, which alone earns and keeps a referral bonus."""

import uuid
from decimal import Decimal

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from models.ledger import Account, Transfer, TransferKind
from models.payments import Payment
from models.services.ledger import transfers

PROMOTIONAL = (TransferKind.GIFT, TransferKind.REFERRAL_BONUS)


def earning_part(session: Session, buyer_id: uuid.UUID, price: Decimal) -> Decimal:
    """Return how much of a price just paid was the buyer's own money.

    Gifts and bonuses are promotional and count as spent by earlier purchases first; what is left of them pays for this
    one last. So a refund returns promotional money as what it was.
    """
    wallet = transfers.wallet_of(session, buyer_id)
    promotional, spent = _promotional(session, wallet), _spent(session, wallet) - price
    left = max(Decimal(0), promotional - max(Decimal(0), spent))
    return max(Decimal(0), min(price, wallet.balance + price - left))


def backed_part(session: Session, buyer_id: uuid.UUID, price: Decimal) -> Decimal:
    """Return how much of a price is backed by money that the buyer paid in, was not refunded and does not owe."""
    received = select(func.sum(Payment.amount_znc - Payment.returned_znc))
    paid = session.scalar(received.where(Payment.user_id == buyer_id, Payment.settled_at.is_not(None))) or Decimal(0)
    adjusted = _sum(session, transfers.wallet_of(session, buyer_id), TransferKind.ADJUSTMENT)
    return min(price, max(Decimal(0), paid + adjusted - transfers.debt_of(session, buyer_id)))


def _promotional(session: Session, wallet: Account) -> Decimal:
    taken_back = select(func.sum(Transfer.amount)).where(
        Transfer.debit_account_id == wallet.id,
        Transfer.kind == TransferKind.REVERSAL,
        Transfer.reference_type == "referral",
    )
    return _sum(session, wallet, *PROMOTIONAL) - (session.scalar(taken_back) or Decimal(0))


def _spent(session: Session, wallet: Account) -> Decimal:
    return -_sum(session, wallet, TransferKind.PURCHASE, TransferKind.REFUND)


def _sum(session: Session, wallet: Account, *kinds: TransferKind) -> Decimal:
    """Return the sum of a wallet's transfers of some kinds, signed from the wallet's view."""
    signed = case((Transfer.credit_account_id == wallet.id, Transfer.amount), else_=-Transfer.amount)
    is_its = (Transfer.credit_account_id == wallet.id) | (Transfer.debit_account_id == wallet.id)
    return session.scalar(select(func.sum(signed)).where(is_its, Transfer.kind.in_(kinds))) or Decimal(0)
