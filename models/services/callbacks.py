"""Callbacks of payment providers: checked against our payments and stored, once each, before they are answered."""

import uuid
from datetime import timedelta

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from models import clock
from models.payments import Payment, PaymentEvent
from models.services import texts
from models.services.errors import CallbackRefused
from models.services.money import CENT
from models.services.providers import Ask, Event
from models.services.providers.base import OF_A_PART


def store_event(session: Session, provider: str, event: Event) -> uuid.UUID | None:
    """Keep a verified callback under its provider's event id; returns our id, or None if it was here before.

    Raises CallbackRefused when payment, amount or currency are not ours; nothing is stored then, and the caller
    rolls back.
    """
    names = (event.event_id, event.provider_payment_id, event.charge_id, event.refund_id, event.refund_key)
    if not all(texts.is_fit(name) for name in names if name is not None):
        raise CallbackRefused("The callback names something that cannot be a name.")
    payment = _named(session, provider, event.provider_payment_id)
    of_a_part = event.outcome in OF_A_PART
    fits = 0 < event.amount_rub <= payment.amount_rub if of_a_part else event.amount_rub == payment.amount_rub
    if event.currency != "RUB" or not fits or event.amount_rub != event.amount_rub.quantize(CENT):
        raise CallbackRefused("The amount or the currency is not that of the payment.")
    try:
        return _store(session, provider, payment, event)
    except DataError:
        # A name that is too long, or a body that holds what JSON can say and PostgreSQL cannot keep.
        raise CallbackRefused("The callback cannot be stored.") from None


def _store(session: Session, provider: str, payment: Payment, event: Event) -> uuid.UUID | None:
    if event.charge_id is not None and payment.provider_charge_id is None:
        payment.provider_charge_id = event.charge_id
        session.flush()
    return session.scalar(
        insert(PaymentEvent)
        .values(
            id=uuid.uuid4(),
            provider=provider,
            event_id=event.event_id,
            payment_id=payment.id,
            outcome=event.outcome,
            amount_rub=event.amount_rub,
            refund_id=event.refund_id,
            refund_key=event.refund_key,
            body=event.body,
        )
        .on_conflict_do_nothing(index_elements=[PaymentEvent.provider, PaymentEvent.event_id])
        .returning(PaymentEvent.id)
    )


def asked_about(session: Session, provider: str, word: Ask) -> uuid.UUID:
    """Return the payment of ours that its provider is to be asked about. Raises CallbackRefused for a foreign one."""
    return _named(session, provider, word.provider_payment_id).id


def _named(session: Session, provider: str, name: str) -> Payment:
    names = or_(Payment.provider_payment_id == name, Payment.provider_charge_id == name)
    payment = session.scalars(select(Payment).where(Payment.provider == provider, names)).one_or_none()
    if payment is None:
        raise CallbackRefused("The payment is not known here.")
    return payment


def unprocessed_events(session: Session, *, older_than: timedelta, limit: int = 200) -> list[uuid.UUID]:
    """Return the ids of stored events that no job has acted on, oldest first."""
    query = select(PaymentEvent.id).where(
        PaymentEvent.processed_at.is_(None), PaymentEvent.received_at < clock.now() - older_than
    )
    return list(session.scalars(query.order_by(PaymentEvent.received_at).limit(limit)))
