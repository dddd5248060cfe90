"""Callbacks of payment providers: stored, once each, before they are answered."""

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from models import clock
from models.payments import Payment, PaymentEvent
from models.services import text_validation
from models.services.errors import CallbackRefused
from models.services.ledger.money import CENT, LARGEST
from models.services.payments.providers import Ask, Event
from models.services.payments.providers.base import OF_A_PART

# A report of an unknown payment may precede it; after a day it belongs to another product of the account.
PATIENCE = timedelta(days=1)
SOONEST, LATEST = timedelta(minutes=1), timedelta(hours=1)


def store_event(session: Session, provider: str, event: Event) -> uuid.UUID | None:
    """Keep a verified report under its provider's event id; returns our id.

    None for one that was here before, and for one about a payment of another product of the same account. Whether its
    amount and its currency are those of the payment is judged when it is settled: what a provider has signed is kept,
    or it would repeat it for days and then be silent. Raises CallbackRefused for names that are none.
    """
    names = (event.event_id, event.provider_payment_id, event.charge_id, event.refund_id, event.refund_key)
    if not all(text_validation.is_printable(name) for name in names if name is not None):
        raise CallbackRefused("name_invalid")
    amount = event.amount_rub
    if not amount.is_finite() or abs(amount) > LARGEST or amount != amount.quantize(CENT):
        raise CallbackRefused("amount_invalid")
    payment = named(session, provider, event.provider_payment_id)
    if payment is None and event.outcome not in OF_A_PART:
        # A payment is known under its first id before its payer hears of it, so this one is not ours.
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
    """Replace what JSON can hold and PostgreSQL cannot: a payer may write a NUL into a provider's form."""
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return value


def named(session: Session, provider: str, name: str) -> Payment | None:
    """Return the payment that a provider calls so, by its first or second id; None when we have none."""
    names = or_(Payment.provider_payment_id == name, Payment.provider_charge_id == name)
    return session.scalars(select(Payment).where(Payment.provider == provider, names)).one_or_none()


def asked_about(session: Session, provider: str, word: Ask) -> uuid.UUID | None:
    """Return the payment of ours that its provider is to be asked about; None for one that is not ours."""
    payment = (
        named(session, provider, word.provider_payment_id)
        if text_validation.is_printable(word.provider_payment_id)
        else None
    )
    return payment.id if payment else None


def fits(payment: Payment, event: PaymentEvent) -> bool:
    """Say whether an event's amount can be that of the payment, or of a part of it.

    A provider's word that nothing was paid is good whatever amount it names.
    """
    if event.outcome == "canceled":
        return True
    if event.outcome in OF_A_PART:
        return event.currency == "RUB" and event.amount_rub > 0
    return event.currency == "RUB" and event.amount_rub == payment.amount_rub


def unprocessed_events(session: Session, *, older_than: timedelta, limit: int = 200) -> list[uuid.UUID]:
    """Return the ids of stored events that no job has acted on and whose turn it is, the longest due first."""
    moment = clock.now()
    query = select(PaymentEvent.id).where(
        PaymentEvent.processed_at.is_(None),
        PaymentEvent.received_at < moment - older_than,
        PaymentEvent.retry_at <= moment,
    )
    return list(session.scalars(query.order_by(PaymentEvent.retry_at).limit(limit)))


def postpone(session: Session, event_id: uuid.UUID) -> None:
    """Let an event wait for as long as it is old, so that those which wait keep no newer one from its turn."""
    event = session.get(PaymentEvent, event_id)
    if event is not None:
        moment = clock.now()
        event.retry_at = moment + min(max(moment - event.received_at, SOONEST), LATEST)
        session.flush()


def hurry(session: Session, payment: Payment) -> None:
    """Let the events that wait for a payment have their turn now.

    Those that a job is settling are passed over: it waits for the payment's row, which is locked here.
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
