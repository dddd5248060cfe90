"""The few figures that the first page of a buyer and of an admin shows."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import clock
from models.ledger import AccountKind, Transfer, TransferKind
from models.payments import Payment, PaymentStatus
from models.services import ledger, tokens
from models.sessions import ProxySession
from models.tokens import AccessToken
from models.users import User


@dataclass(frozen=True, slots=True)
class BuyerFigures:
    """Counts of one user's own things; bytes are body bytes in both directions."""

    usable_tokens: int
    requests: int
    bytes_transferred: int


@dataclass(frozen=True, slots=True)
class ShopFigures:
    """Counts over the whole shop; sold is in ZNC over the last 24 hours."""

    users: int
    running_tokens: int
    open_sessions: int
    pending_payments: int
    sold: Decimal


def of_user(session: Session, user_id: uuid.UUID) -> BuyerFigures:
    """Return the figures of one user."""
    usable = select(func.count()).where(AccessToken.user_id == user_id, tokens.has_not_ended())
    carried = func.coalesce(func.sum(ProxySession.bytes_in + ProxySession.bytes_out), 0)
    requests, transferred = session.execute(
        select(func.coalesce(func.sum(ProxySession.request_count), 0), carried).where(ProxySession.user_id == user_id)
    ).one()
    return BuyerFigures(session.scalar(usable) or 0, int(requests), int(transferred))


@dataclass(frozen=True, slots=True)
class ShopTotals:
    """What the shop has come to; `revenue` is what was sold less what was refunded, in ZNC."""

    active_users: int
    purchases: int
    revenue: Decimal


def totals(session: Session) -> ShopTotals:
    """Return the figures of all time. What was sold stands on one account, so no transfer is added up for it."""
    purchases = select(func.count()).where(Transfer.kind == TransferKind.PURCHASE)
    return ShopTotals(
        active_users=session.scalar(select(func.count()).where(User.is_active)) or 0,
        purchases=session.scalar(purchases) or 0,
        revenue=ledger.system_account(session, AccountKind.SALES).balance,
    )


def of_shop(session: Session) -> ShopFigures:
    """Return the figures of the shop."""
    moment = clock.now()
    running = select(func.count()).where(
        AccessToken.revoked_at.is_(None), AccessToken.paused_at.is_(None), AccessToken.expires_at > moment
    )
    sold = select(func.coalesce(func.sum(Transfer.amount), 0)).where(
        Transfer.kind == TransferKind.PURCHASE, Transfer.created_at > moment - timedelta(hours=24)
    )
    return ShopFigures(
        users=session.scalar(select(func.count()).select_from(User)) or 0,
        running_tokens=session.scalar(running) or 0,
        open_sessions=session.scalar(select(func.count()).where(ProxySession.ended_at.is_(None))) or 0,
        pending_payments=session.scalar(select(func.count()).where(Payment.status == PaymentStatus.PENDING)) or 0,
        sold=session.scalar(sold) or Decimal(0),
    )
