"""What a provider reports of refunds and disputes, booked by rule or left to an admin."""

import uuid
from datetime import timedelta

from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.payments import Payment, PaymentEvent, PaymentReversal, ReversalKind, ReversalState
from models.services import reversals
from models.services.context import PLATFORM

# A provider that refunds a payment which it has not reported as paid yet is late with that report, not wrong.
PATIENCE = timedelta(days=1)


def settle(session: Session, payment: Payment, event: PaymentEvent) -> str | None:
    """Book what a provider says of a refund or a dispute of a locked payment, and return what was done.

    None while the payment itself is not settled: that word may be on its way still. A result that begins with
    "review" is for a person.
    """
    if payment.settled_at is None:
        is_late = event.received_at <= clock.now() - PATIENCE
        return f"review: the payment is {payment.status}" if is_late else None
    held = _find(session, payment, event)
    if event.outcome == "dispute_won":
        return _win(session, payment, held)
    if event.outcome == "refund_failed":
        return _fail(session, payment, held)
    if held is None:
        return _book(session, payment, event)
    if held.state is not ReversalState.REQUESTED:
        return f"ignored: the {held.kind} is {held.state}"
    reversals.finish(session, payment, held, event.refund_id)
    return "refunded"


def _book(session: Session, payment: Payment, event: PaymentEvent) -> str:
    """Book a refund or a dispute that did not begin here."""
    left = payment.amount_rub - payment.returned_rub
    if event.amount_rub > left:
        return f"review: {event.amount_rub} RUB went back, and {left} RUB were left"
    disputed = event.outcome == "disputed"
    kind = ReversalKind.DISPUTE if disputed else ReversalKind.REFUND
    reason = "Disputed by the payer's bank" if disputed else "Refunded at the provider"
    reversal = reversals.begin(
        session, payment, kind, event.amount_rub, reversal_id=uuid.uuid4(), reason=reason, actor=PLATFORM
    )
    reversal.provider_key, reversal.state, reversal.ended_at = event.refund_id, ReversalState.DONE, clock.now()
    reversals.record(
        session, payment, AuditAction.PAYMENT_DISPUTED if disputed else AuditAction.PAYMENT_REFUNDED, reversal
    )
    return event.outcome


def _find(session: Session, payment: Payment, event: PaymentEvent) -> PaymentReversal | None:
    """Return the reversal that an event is about: by the provider's id, by ours, or the one that waits for it."""
    rows = reversals.of_payment(session, payment.id)
    by_id = [row for row in rows if event.refund_id is not None and row.provider_key == event.refund_id]
    by_key = [row for row in rows if event.refund_key is not None and str(row.id) == event.refund_key]
    expected = [
        row
        for row in rows
        if event.outcome == "refunded" and row.state is ReversalState.REQUESTED and row.amount_rub == event.amount_rub
    ]
    return next(iter([*by_id, *by_key, *expected]), None)


def _win(session: Session, payment: Payment, held: PaymentReversal | None) -> str:
    if held is None or held.kind is not ReversalKind.DISPUTE:
        return "review: a dispute was won that is not known here"
    if held.state is not ReversalState.DONE:
        return f"ignored: the dispute is {held.state}"
    reversals.undo(session, payment, held, ReversalState.WON, note="")
    reversals.record(session, payment, AuditAction.PAYMENT_DISPUTE_WON, held)
    return "dispute_won"


def _fail(session: Session, payment: Payment, held: PaymentReversal | None) -> str:
    """Give the ZNC of a refund back whose money did not arrive, though its provider may have called it done before."""
    if held is None or held.kind is not ReversalKind.REFUND or held.state is ReversalState.REFUSED:
        return f"ignored: the refund is {ReversalState.REFUSED}"
    reversals.undo(session, payment, held, ReversalState.REFUSED, note="It failed at the provider.")
    reversals.record(session, payment, AuditAction.PAYMENT_REFUND_REFUSED, held)
    return "refund_failed"
