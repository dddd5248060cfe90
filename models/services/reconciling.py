"""Payments against the ledger, by day and provider: what an accountant compares with a provider's own report."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from sqlalchemy import Date, String, case, cast, func, or_, select
from sqlalchemy.orm import Session, aliased

from models.day_figures import PaymentDay
from models.ledger import Transfer
from models.payments import Payment, PaymentReversal, ReversalState
from models.services.errors import InvalidInput

LONGEST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Row:
    """One day (UTC) of one provider. A difference is what the ledger booked and should not have, or the reverse."""

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


def rows(session: Session, first: date, last: date) -> list[Row]:
    """Return the days from `first` to `last`, both included, on which something happened, oldest first.

    What was paid and booked is kept by the day in the very transactions that pay and book (models.day_figures). A
    payment counts on the day on which it was settled, and what went back of one on the day on which it went.
    Raises InvalidInput for a range that is empty or longer than a year.
    """
    if not 0 <= (last - first).days < LONGEST_DAYS:
        raise InvalidInput("last", "Choose a range of at most a year.")
    # The last day there is has no day after it.
    start, end = datetime.combine(first, time.min, UTC), datetime.combine(last, time.max, UTC)
    kept = session.scalars(select(PaymentDay).where(PaymentDay.day.between(first, last), PaymentDay.payments != 0))
    paid = {(row.day, row.provider): (row.payments, row.paid_rub, row.paid_znc, row.booked_znc) for row in kept}
    returned = {(row[0], row[1]): tuple(row[2:]) for row in session.execute(_returned(start, end))}
    nothing = (0, Decimal(0), Decimal(0), Decimal(0))
    return [
        Row(day, provider, *paid.get((day, provider), nothing), *returned.get((day, provider), nothing))
        for day, provider in sorted(paid.keys() | returned.keys())
    ]


def _returned(start: datetime, end: datetime) -> Any:
    """A refund that was refused and a dispute that was won have gone forth and back: they count as nothing."""
    booking = aliased(Transfer)
    name = cast(PaymentReversal.id, String)
    of_it = or_(booking.idempotency_key == "reversal:" + name, booking.idempotency_key == "reversal-debt:" + name)
    booked = (
        select(func.coalesce(func.sum(booking.amount), 0)).where(of_it).correlate(PaymentReversal).scalar_subquery()
    )
    stands = PaymentReversal.state.in_((ReversalState.REQUESTED, ReversalState.DONE))
    day = cast(func.timezone("UTC", PaymentReversal.created_at), Date)
    rub, znc, unbooked = (
        func.sum(case((stands, amount), else_=0))
        for amount in (PaymentReversal.amount_rub, PaymentReversal.amount_znc, booked)
    )
    query = select(day, Payment.provider, func.count(), rub, znc, unbooked)
    query = query.join(Payment, Payment.id == PaymentReversal.payment_id)
    return query.where(PaymentReversal.created_at.between(start, end)).group_by(day, Payment.provider)
