"""Queries of payments and of the providers' reports on them."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from models.payments import Payment, PaymentEvent
from models.services.errors import NotFound
from models.services.pagination import Page, fetch_page
from models.users import User


def owned(session: Session, owner: User, payment_id: uuid.UUID) -> Payment:
    """Return the owner's payment. Raises NotFound, also for another user's payment."""
    payment = session.scalars(
        select(Payment).where(Payment.id == payment_id, Payment.user_id == owner.id)
    ).one_or_none()
    if payment is None:
        raise NotFound("payment")
    return payment


def by_id(session: Session, payment_id: uuid.UUID) -> Payment:
    """Return a payment with its user, for admins. Raises NotFound."""
    query = select(Payment).options(joinedload(Payment.user)).where(Payment.id == payment_id)
    payment = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if payment is None:
        raise NotFound("payment")
    return payment


def list_events(session: Session, payment_id: uuid.UUID) -> list[PaymentEvent]:
    """Return the provider's reports on a payment, oldest first."""
    query = select(PaymentEvent).where(PaymentEvent.payment_id == payment_id)
    return list(session.scalars(query.order_by(PaymentEvent.received_at)))


def event_page(session: Session, payment_id: uuid.UUID, *, limit: int, offset: int) -> Page[PaymentEvent]:
    """Return a page of the provider's reports on a payment, newest first."""
    query = select(PaymentEvent).where(PaymentEvent.payment_id == payment_id)
    return fetch_page(
        session, query, order=(PaymentEvent.received_at.desc(), PaymentEvent.id), limit=limit, offset=offset
    )


def list_payments(session: Session, *, limit: int, offset: int, user_id: uuid.UUID | None = None) -> Page[Payment]:
    """Return a page of payments with their users, newest first."""
    query = select(Payment).options(joinedload(Payment.user))
    if user_id is not None:
        query = query.where(Payment.user_id == user_id)
    return fetch_page(session, query, order=(Payment.created_at.desc(), Payment.id), limit=limit, offset=offset)
