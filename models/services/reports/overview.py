"""Overview figures for the user's start page and for the API's admin totals."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from models import clock, time_zones
from models.access_tokens import AccessToken, pauses_at
from models.daily_stats import DailyStats
from models.ledger import AccountKind, Transfer, TransferKind
from models.payments import Payment, PaymentStatus
from models.proxy_sessions import ProxySession
from models.services.ledger import transfers
from models.services.reports import usage
from models.services.tokens import queries as token_queries
from models.users import User

SHOWN = 5
DAYS_SHOWN = 14
# A token is "expiring soon" in the last quarter of its time, at most a day ahead.
SOON, LAST_PARTS = timedelta(hours=24), 4


@dataclass(frozen=True, slots=True)
class UserOverview:
    """A user's current tokens and traffic: today and on each of the last days, oldest first.

    `running` are tokens that have not ended, paused ones included; `usable_tokens` excludes paused ones.
    """

    usable_tokens: int
    running: list[AccessToken]
    ending: list[AccessToken]
    days: list[usage.UsageEntry]

    @property
    def today(self) -> usage.Usage:
        return self.days[-1].usage


@dataclass(frozen=True, slots=True)
class ShopOverview:
    """Platform-wide counts; sales are in ZNC over the last 24 hours."""

    users: int
    running_tokens: int
    open_sessions: int
    pending_payments: int
    sold: Decimal


def user_overview(session: Session, user_id: uuid.UUID) -> UserOverview:
    """Return a user's overview: up to `SHOWN` current tokens, first to expire first, unused ones last."""
    moment = clock.now()
    at_hand = select(AccessToken).where(AccessToken.user_id == user_id, token_queries.has_not_ended())
    usable = at_hand.where(~pauses_at(moment))
    ends = case((pauses_at(moment), None), else_=AccessToken.ends_at).nulls_last()
    order = (AccessToken.activated_at.is_(None), ends, AccessToken.created_at.desc())
    running = list(session.scalars(at_hand.order_by(*order).limit(SHOWN)))
    zone = time_zones.zone_of(session.get_one(User, user_id).time_zone)
    return UserOverview(
        usable_tokens=session.scalar(select(func.count()).select_from(usable.subquery())) or 0,
        running=running,
        ending=[token for token in running if not token.auto_renew and _is_about_to_end(token, moment)],
        days=usage.series(session, usage.Period.DAY, user_id=user_id, shown=DAYS_SHOWN, zone=zone),
    )


def _is_about_to_end(token: AccessToken, moment: datetime) -> bool:
    expires_at = token.expiry(moment)
    if expires_at is None:
        return False
    return expires_at - moment < min(SOON, timedelta(seconds=token.paid_seconds) / LAST_PARTS)


@dataclass(frozen=True, slots=True)
class ShopTotals:
    """All-time totals; `revenue` is sales less refunds, in ZNC."""

    active_users: int
    purchases: int
    revenue: Decimal


def totals(session: Session) -> ShopTotals:
    """Return the all-time totals.

    Sales are one account's balance and whole days are stored: only the transfers of the last two days are read.
    """
    purchases = select(func.count()).where(Transfer.kind == TransferKind.PURCHASE)
    counted = session.scalars(select(DailyStats).order_by(DailyStats.day.desc()).limit(1)).one_or_none()
    before = 0
    if counted is not None:
        # A transaction that spans midnight may be missing from a day that was counted right after it.
        first = counted.day - timedelta(days=1)
        before = session.scalar(select(func.sum(DailyStats.purchases)).where(DailyStats.day < first)) or 0
        purchases = purchases.where(
            Transfer.created_at >= time_zones.start_of(first, time_zones.zone_of(counted.time_zone))
        )
    return ShopTotals(
        active_users=session.scalar(select(func.count()).where(User.is_active)) or 0,
        purchases=before + (session.scalar(purchases) or 0),
        revenue=transfers.system_account(session, AccountKind.SALES).balance,
    )


def shop_overview(session: Session) -> ShopOverview:
    """Return the platform's figures, all of one moment."""
    moment = clock.now()
    counts = (
        select(func.count()).select_from(User),
        select(func.count()).select_from(AccessToken).where(token_queries.is_running(moment)),
        select(func.count()).where(ProxySession.ended_at.is_(None)),
        select(func.count()).where(Payment.status == PaymentStatus.PENDING),
        select(func.coalesce(func.sum(Transfer.amount), 0)).where(
            Transfer.kind == TransferKind.PURCHASE, Transfer.created_at > moment - timedelta(hours=24)
        ),
    )
    found: Any = session.execute(select(*(count.scalar_subquery() for count in counts))).one()
    users, running, sessions, pending, sold = found
    return ShopOverview(users, running, sessions, pending, Decimal(sold))
