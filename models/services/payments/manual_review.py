"""Manual review: payment events that no rule could decide, for an admin to act on and close with a note."""

import uuid

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from models import clock
from models.audit import AuditAction
from models.payments import Payment, PaymentEvent
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound
from models.services.pagination import ListQuery


def count(session: Session) -> int:
    """Return how many events wait for a person."""
    return session.scalar(select(func.count()).select_from(PaymentEvent).where(*_WAITING)) or 0


def list_reviews() -> ListQuery[PaymentEvent]:
    """Return the list of events that wait for a person, newest first."""
    payment = joinedload(PaymentEvent.payment).joinedload(Payment.user)
    query = select(PaymentEvent).options(payment).where(*_WAITING)
    return ListQuery(query, (PaymentEvent.received_at.desc(), PaymentEvent.id))


def close(session: Session, event_id: uuid.UUID, *, note: str, actor: Actor) -> PaymentEvent:
    """Close the review of an event. Raises NotFound for an event without review, InvalidInput for an empty note."""
    note = text_validation.one_line(note, field="note", at_least=3, at_most=200)
    event = session.scalars(
        select(PaymentEvent)
        .where(PaymentEvent.id == event_id, *_WAITING)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if event is None:
        raise NotFound("payment_event")
    event.reviewed_at, event.reviewed_by, event.review_note = clock.now(), actor.user_id, note
    payment = session.get_one(Payment, event.payment_id)
    facts = {"event": event.event_id, "note": note}
    resource = ("payment", payment.id)
    audit_log.record(session, AuditAction.PAYMENT_REVIEWED, actor, user_id=payment.user_id, resource=resource, **facts)
    return event


_WAITING = (PaymentEvent.needs_review, PaymentEvent.reviewed_at.is_(None))
