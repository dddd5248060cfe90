"""Reconciliation of payments with the ledger, by day and provider, for comparison with the provider's own report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from sqlalchemy import DateTime, String, and_, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session, aliased

from models import time_zones
from models.daily_stats import DailyPayments
from models.ledger import Transfer, TransferKind
from models.payments import Payment, PaymentReversal, ReversalState
from models.services.errors import InvalidInput

LONGEST_DAYS = 366

type Figures = dict[tuple[date, str], Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One day of one provider."""

    day: date
    provider: str
    payments: int
    paid_rub: Decimal
    paid_znc: Decimal
    booked_znc: Decimal
    reversals: int
    returned_rub: Decimal
    returned_znc: Decimal
    unbooked_znc: Decimal

    @property
    def difference(self) -> Decimal:
        """ZNC by which the ledger differs from the payments of that day; zero when all is well."""
        return (self.booked_znc - self.paid_znc) - (self.unbooked_znc - self.returned_znc)


def daily_totals(session: Session, first: date, last: date, zone: tzinfo = UTC) -> list[Row]:
    """Return the days with payments or reversals from `first` to `last`, both included, oldest first.

    A payment counts on the day of its settlement, a reversal on the day of its booking. Raises InvalidInput for a range
    that is empty or longer than a year.
    """
    if not 0 <= (last - first).days < LONGEST_DAYS:
        raise InvalidInput("last", "range_too_long")
    starts = time_zones.starts_of(first, last, zone)
    paid = _kept(session, first, last) if zone is UTC else _by_day(session, _paid(starts), first)
    returned = _by_day(session, _returned(starts), first)
    nothing = (0, Decimal(0), Decimal(0), Decimal(0))
    return [
        Row(day, provider, *paid.get((day, provider), nothing), *returned.get((day, provider), nothing))
        for day, provider in sorted(paid.keys() | returned.keys())
    ]


def _kept(session: Session, first: date, last: date) -> Figures:
    """Return paid and booked amounts by UTC day, from the stored daily totals (models.daily_stats)."""
    kept = session.scalars(
        select(DailyPayments).where(DailyPayments.day.between(first, last), DailyPayments.payments != 0)
    )
    return {(row.day, row.provider): (row.payments, row.paid_rub, row.paid_znc, row.booked_znc) for row in kept}


def _by_day(session: Session, query: Any, first: date) -> Figures:
    """Run a query whose rows begin with the number of the day, counted from 1, and the provider."""
    return {(first + timedelta(days=row[0] - 1), row[1]): tuple(row[2:]) for row in session.execute(query)}


def _paid(starts: Sequence[datetime]) -> Any:
    """Sum paid and booked amounts from the payments themselves: stored daily totals exist for UTC days only."""
    deposit = aliased(Transfer)
    booked = (deposit.reference_type == "payment", deposit.reference_id == Payment.id)
    is_its = and_(*booked, deposit.kind == TransferKind.DEPOSIT)
    sums = (Payment.amount_rub, Payment.amount_znc, func.coalesce(deposit.amount, 0))
    query = select(_number(Payment.settled_at, starts), Payment.provider, func.count(), *map(func.sum, sums))
    query = query.outerjoin(deposit, is_its).where(*_within(Payment.settled_at, starts))
    return query.group_by("number", Payment.provider)


def _number(at: Any, starts: Sequence[datetime]) -> Any:
    return func.width_bucket(at, array(starts, type_=DateTime(timezone=True))).label("number")


def _within(at: Any, starts: Sequence[datetime]) -> tuple[Any, Any]:
    return at >= starts[0], at < starts[-1]


def _returned(starts: Sequence[datetime]) -> Any:
    """Sum reversals by day; rejected refunds and won disputes were booked and undone, so they count as zero."""
    booking = aliased(Transfer)
    name = cast(PaymentReversal.id, String)
    of_it = or_(booking.idempotency_key == "reversal:" + name, booking.idempotency_key == "reversal-debt:" + name)
    booked = (
        select(func.coalesce(func.sum(booking.amount), 0)).where(of_it).correlate(PaymentReversal).scalar_subquery()
    )
    stands = PaymentReversal.state.in_((ReversalState.REQUESTED, ReversalState.DONE))
    rub, znc, unbooked = (
        func.sum(case((stands, amount), else_=0))
        for amount in (PaymentReversal.amount_rub, PaymentReversal.amount_znc, booked)
    )
    number = _number(PaymentReversal.created_at, starts)
    query = select(number, Payment.provider, func.count(), rub, znc, unbooked)
    query = query.join(Payment, Payment.id == PaymentReversal.payment_id)
    return query.where(*_within(PaymentReversal.created_at, starts)).group_by("number", Payment.provider)
