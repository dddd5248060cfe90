"""Schedule of provider queries: callbacks get lost, and refunds and disputes are reported months later.

An undecided payment is checked every minute at first, a settled one every hour, and both less and less often.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import Select, or_, select, update
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.payments import Payment, PaymentStatus

FIRST_CHECK = timedelta(minutes=2)
# The interval of an undecided payment is a tenth of its age, of a settled one half of the time since its settlement.
UNDECIDED_EVERY, UNDECIDED_FOR = timedelta(minutes=1), timedelta(days=30)
SETTLED_EVERY = timedelta(hours=1)
BACKOFF, LONGEST_BACKOFF = timedelta(seconds=15), timedelta(hours=1)


def unchecked() -> Select[uuid.UUID]:
    """Return the query for payments that are due for a check."""
    return select(Payment.id).where(Payment.check_at <= clock.now())


def due(session: Session, *, limit: int = 200) -> list[uuid.UUID]:
    """Return the ids of the payments that are due for a check, the longest due first."""
    return list(session.scalars(unchecked().order_by(Payment.check_at).limit(limit)))


def request(session: Session, payment_id: uuid.UUID) -> None:
    """Schedule a check of a payment now, repeated until its provider responds."""
    session.execute(update(Payment).where(Payment.id == payment_id).values(check_at=clock.now(), check_failures=0))


def answered(session: Session, payment_id: uuid.UUID, *, asked_at: datetime, settings: Settings) -> None:
    """Schedule the next check after a response. A check requested since `asked_at` stays due: it may bring news."""
    payment = session.get_one(Payment, payment_id)
    is_ours = or_(Payment.check_at.is_(None), Payment.check_at <= asked_at)
    planned = {"check_at": _after(payment, settings), "check_failures": 0}
    session.execute(update(Payment).where(Payment.id == payment_id, is_ours).values(planned))


def unanswered(session: Session, payment_id: uuid.UUID, settings: Settings) -> None:
    """Schedule a retry with exponential backoff, as long as the payment is checked at all."""
    payment = session.get(Payment, payment_id)
    if payment is None:
        return
    wait = backoff(payment.check_failures)
    goes_on = _after(payment, settings) is not None
    planned = {"check_at": clock.now() + wait if goes_on else None, "check_failures": Payment.check_failures + 1}
    session.execute(update(Payment).where(Payment.id == payment_id).values(planned))


def backoff(failures: int) -> timedelta:
    """Return the wait after one more failure than `failures` in a row."""
    return min(BACKOFF * (1 << min(failures, 16)), LONGEST_BACKOFF)


def _after(payment: Payment, settings: Settings) -> datetime | None:
    """Return the time of a payment's next check; None when its state is final."""
    moment = clock.now()
    if payment.status in {PaymentStatus.PENDING, PaymentStatus.EXPIRED}:
        age = moment - payment.created_at
        return moment + max(age / 10, UNDECIDED_EVERY) if age < UNDECIDED_FOR else None
    if payment.settled_at is None:
        return None
    age = moment - payment.settled_at
    return moment + max(age / 2, SETTLED_EVERY) if age < timedelta(days=settings.payments.recheck_days) else None
