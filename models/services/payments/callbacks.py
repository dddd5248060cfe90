"""Callbacks of payment providers: each is stored once, before the response."""

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from models import clock
from models.payments import Payment, PaymentEvent
from models.services import text_validation
from models.services.errors import CallbackRefused
from models.services.ledger.money import CENT, LARGEST
from models.services.payments.providers import Event, StatusHint
from models.services.payments.providers.base import PARTIAL_OUTCOMES

# A report may arrive before its payment is known; after a day it belongs to another product of the account.
WAITING_PERIOD = timedelta(days=1)
# A callback is settled by a job of its own; one that was lost is settled by the sweep after this.
SWEEP_AFTER = timedelta(seconds=15)
MIN_RETRY, MAX_RETRY = timedelta(minutes=1), timedelta(hours=1)


def store_event(session: Session, provider: str, event: Event) -> uuid.UUID | None:
    """Store a verified report under its provider's event id; return our id.

    None for a repeated report, and for a payment of another product of the same account. Amount and currency are
    compared with the payment's at settlement: a signed report is always stored, because the provider would repeat it
    for days and then stop. Raises CallbackRefused for ids and amounts that cannot be stored.
    """
    names = (event.event_id, event.provider_payment_id, event.charge_id, event.refund_id, event.refund_key)
    if not all(text_validation.is_printable(name) for name in names if name is not None):
        raise CallbackRefused("name_invalid")
    amount = event.amount_rub
    if not amount.is_finite() or abs(amount) > LARGEST or amount != amount.quantize(CENT):
        raise CallbackRefused("amount_invalid")
    payment = find_payment(session, provider, event.provider_payment_id)
    if payment is None and event.outcome not in PARTIAL_OUTCOMES:
        # A payment is stored with its first id before the payer gets the checkout, so this one is not ours.
        return None
    try:
        return _store(session, provider, payment, event)
    except DataError:
        raise CallbackRefused("not_storable") from None


def _store(session: Session, provider: str, payment: Payment | None, event: Event) -> uuid.UUID | None:
    if payment is not None and event.charge_id is not None and payment.provider_charge_id is None:
        payment.provider_charge_id = event.charge_id
        session.flush()
    moment = clock.now()
    return session.scalar(
        insert(PaymentEvent)
        .values(
            id=uuid.uuid4(),
            provider=provider,
            event_id=event.event_id,
            payment_id=payment.id if payment else None,
            provider_payment_id=event.provider_payment_id,
            outcome=event.outcome,
            amount_rub=event.amount_rub,
            currency=event.currency,
            failure=event.failure,
            refund_id=event.refund_id,
            refund_key=event.refund_key,
            body=_storable(event.body),
            received_at=moment,
            retry_at=moment,
        )
        .on_conflict_do_nothing(index_elements=[PaymentEvent.provider, PaymentEvent.event_id])
        .returning(PaymentEvent.id)
    )


def _storable(value: Any) -> Any:
    """Replace characters that PostgreSQL cannot store: a payer may enter a NUL in a provider's form."""
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return value


def find_payment(session: Session, provider: str, name: str) -> Payment | None:
    """Return the payment with this id at the provider, its first or second one; None when there is none."""
    names = or_(Payment.provider_payment_id == name, Payment.provider_charge_id == name)
    return session.scalars(select(Payment).where(Payment.provider == provider, names)).one_or_none()


def payment_to_query(session: Session, provider: str, hint: StatusHint) -> uuid.UUID | None:
    """Return the id of the payment that its provider has to be queried about; None for one that is not ours."""
    payment = (
        find_payment(session, provider, hint.provider_payment_id)
        if text_validation.is_printable(hint.provider_payment_id)
        else None
    )
    return payment.id if payment else None


def amount_matches(payment: Payment, event: PaymentEvent) -> bool:
    """Return whether an event's amount can be that of the payment, or of a part of it.

    The amount of a cancellation does not matter.
    """
    if event.outcome == "canceled":
        return True
    if event.outcome in PARTIAL_OUTCOMES:
        return event.currency == "RUB" and event.amount_rub > 0
    return event.currency == "RUB" and event.amount_rub == payment.amount_rub


def unprocessed(older_than: timedelta) -> Select[uuid.UUID]:
    """Return the query for stored events that are not processed and due."""
    moment = clock.now()
    return select(PaymentEvent.id).where(
        PaymentEvent.processed_at.is_(None),
        PaymentEvent.received_at < moment - older_than,
        PaymentEvent.retry_at <= moment,
    )


def unprocessed_events(session: Session, *, older_than: timedelta, limit: int = 200) -> list[uuid.UUID]:
    """Return the ids of stored events that are not processed and due, the longest due first."""
    return list(session.scalars(unprocessed(older_than).order_by(PaymentEvent.retry_at).limit(limit)))


def postpone(session: Session, event_id: uuid.UUID) -> None:
    """Retry an event after its own age, so that old waiting events do not delay newer ones."""
    event = session.get(PaymentEvent, event_id)
    if event is not None:
        moment = clock.now()
        event.retry_at = moment + min(max(moment - event.received_at, MIN_RETRY), MAX_RETRY)
        session.flush()


def retry_waiting(session: Session, payment: Payment) -> None:
    """Make the waiting events of a payment due now.

    Events that a job is settling are skipped: that job waits for the payment's row, which is locked here.
    """
    waits = PaymentEvent.payment_id == payment.id
    if payment.provider_charge_id is not None:
        by_name = PaymentEvent.provider_payment_id == payment.provider_charge_id
        waits = or_(waits, by_name & PaymentEvent.payment_id.is_(None))
    ids = select(PaymentEvent.id).where(
        waits, PaymentEvent.provider == payment.provider, PaymentEvent.processed_at.is_(None)
    )
    free = session.scalars(ids.with_for_update(skip_locked=True)).all()
    if free:
        session.execute(update(PaymentEvent).where(PaymentEvent.id.in_(free)).values(retry_at=clock.now()))
