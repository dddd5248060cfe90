"""When a payment's provider is asked about it next: callbacks get lost, and refunds and disputes come months later.

A payment that is undecided is asked about each minute at first, a settled one each hour, and both less and less often.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.payments import Payment, PaymentStatus

FIRST_CHECK = timedelta(minutes=2)
# Of an undecided payment the wait is a tenth of its age, of a settled one half of the time since it was settled.
UNDECIDED_EVERY, UNDECIDED_FOR = timedelta(minutes=1), timedelta(days=30)
SETTLED_EVERY = timedelta(hours=1)
BACKOFF, LONGEST_BACKOFF = timedelta(seconds=15), timedelta(hours=1)


def due(session: Session, *, limit: int = 200) -> list[uuid.UUID]:
    """Return the ids of the payments that their providers are to be asked about now, the longest due first."""
    query = select(Payment.id).where(Payment.check_at <= clock.now())
    return list(session.scalars(query.order_by(Payment.check_at).limit(limit)))


def request(session: Session, payment_id: uuid.UUID) -> None:
    """Note that something may have happened to a payment: its provider is to be asked until it has answered."""
    session.execute(update(Payment).where(Payment.id == payment_id).values(check_at=clock.now(), check_failures=0))


def answered(session: Session, payment_id: uuid.UUID, *, asked_at: datetime, settings: Settings) -> None:
    """Plan the next check after an answer. One that was requested since `asked_at` stays due: it may know more."""
    payment = session.get_one(Payment, payment_id)
    is_ours = or_(Payment.check_at.is_(None), Payment.check_at <= asked_at)
    planned = {"check_at": _after(payment, settings), "check_failures": 0}
    session.execute(update(Payment).where(Payment.id == payment_id, is_ours).values(planned))


def unanswered(session: Session, payment_id: uuid.UUID, settings: Settings) -> None:
    """Ask again later, each time after twice the wait, for as long as the payment is followed at all."""
    payment = session.get(Payment, payment_id)
    if payment is None:
        return
    wait = backoff(payment.check_failures)
    goes_on = _after(payment, settings) is not None
    planned = {"check_at": clock.now() + wait if goes_on else None, "check_failures": Payment.check_failures + 1}
    session.execute(update(Payment).where(Payment.id == payment_id).values(planned))


def backoff(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row, and one more."""
    return min(BACKOFF * (1 << min(failures, 16)), LONGEST_BACKOFF)


def _after(payment: Payment, settings: Settings) -> datetime | None:
    """Return when a payment is checked next, as it is now; None for one that nothing more can happen to."""
    moment = clock.now()
    if payment.status in {PaymentStatus.PENDING, PaymentStatus.EXPIRED}:
        age = moment - payment.created_at
        return moment + max(age / 10, UNDECIDED_EVERY) if age < UNDECIDED_FOR else None
    if payment.settled_at is None:
        return None
    age = moment - payment.settled_at
    return moment + max(age / 2, SETTLED_EVERY) if age < timedelta(days=settings.payments.recheck_days) else None
