"""What a provider reports of refunds and disputes, booked by rule or left to an admin."""

import uuid

from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.payments import IN_FORCE, Payment, PaymentEvent, PaymentReversal, ReversalKind, ReversalState
from models.services.actor import PLATFORM
from models.services.payments import callbacks, reversals


def settle(session: Session, payment: Payment, event: PaymentEvent, *, pause_tokens: bool) -> str | None:
    """Book what a provider says of a refund or a dispute of a locked payment, and return what was done.

    None while the payment itself is not settled: that word may be on its way still. A result that begins with
    "review" is for a person.
    """
    if payment.settled_at is None:
        # A provider that refunds a payment which it has not reported as paid yet is late with that report, not wrong.
        is_late = event.received_at <= clock.now() - callbacks.PATIENCE
        return f"review: the payment is {payment.status}" if is_late else None
    held = find(session, payment, event)
    if event.outcome in _UNDOES:
        return _undone(session, payment, held, event.outcome)
    if held is None:
        return _book(session, payment, event, pause_tokens=pause_tokens)
    if held.state is ReversalState.REQUESTED and held.amount_rub == event.amount_rub:
        reversals.finish(session, payment, held, event.refund_id)
        return "refunded"
    return _against(held, event)


def _against(held: PaymentReversal, event: PaymentEvent) -> str:
    """Say what is to be done with a report that money went back, about a reversal that is booked already."""
    if held.state not in IN_FORCE:
        # The money went back after all, or once more. Whether this is news or an old report that is late, the report
        # does not tell: Stripe does not promise an order (docs.stripe.com/webhooks, "Event ordering").
        return f"review: the {held.kind} is {held.state}"
    if held.amount_rub != event.amount_rub:
        return f"review: {event.amount_rub:.2f} RUB went back, and {held.amount_rub:.2f} RUB are booked"
    return f"ignored: the {held.kind} is {held.state}"


def _book(session: Session, payment: Payment, event: PaymentEvent, *, pause_tokens: bool) -> str:
    """Book a refund or a dispute that did not begin here."""
    left = payment.amount_rub - payment.returned_rub
    if event.amount_rub > left:
        return f"review: {event.amount_rub} RUB went back, and {left} RUB were left"
    disputed = event.outcome == "disputed"
    kind = ReversalKind.DISPUTE if disputed else ReversalKind.REFUND
    reason = "Disputed by the payer's bank" if disputed else "Refunded at the provider"
    reversal = reversals.begin(
        session,
        payment,
        kind,
        event.amount_rub,
        reversal_id=uuid.uuid4(),
        reason=reason,
        actor=PLATFORM,
        pause_tokens=pause_tokens,
    )
    reversal.provider_key, reversal.state, reversal.ended_at = event.refund_id, ReversalState.DONE, clock.now()
    reversals.record(
        session, payment, AuditAction.PAYMENT_DISPUTED if disputed else AuditAction.PAYMENT_REFUNDED, reversal
    )
    return event.outcome


def find(session: Session, payment: Payment, event: PaymentEvent) -> PaymentReversal | None:
    """Return the reversal that an event is about: by the provider's id, by ours, or the one that waits for it.

    Of several with the provider's id it is the one in force, or the last that was undone.
    """
    rows = sorted(reversals.of_payment(session, payment.id), key=lambda row: row.created_at, reverse=True)
    by_id = [row for row in rows if event.refund_id is not None and row.provider_key == event.refund_id]
    by_key = [row for row in rows if event.refund_key is not None and str(row.id) == event.refund_key]
    expected = [
        row
        for row in rows
        if event.outcome == "refunded" and row.state is ReversalState.REQUESTED and row.amount_rub == event.amount_rub
    ]
    by_id.sort(key=lambda row: row.state not in IN_FORCE)
    return next(iter([*by_id, *by_key, *reversed(expected)]), None)


def _undone(session: Session, payment: Payment, held: PaymentReversal | None, outcome: str) -> str:
    """Give the ZNC of a reversal back whose money the payer does not have: a won dispute, or a refund that failed.

    A provider may have called the refund done before: a bank sends back what it cannot credit.
    """
    kind, state, action, note = _UNDOES[outcome]
    if held is None or held.kind is not kind:
        # A refund that failed before it was done was never booked.
        is_refund = kind is ReversalKind.REFUND
        return "ignored: the refund is refused" if is_refund else "review: a dispute was won that is not known here"
    if held.state is state:
        return f"ignored: the {kind} is {state}"
    reversals.undo(session, payment, held, state, note=note)
    reversals.record(session, payment, action, held)
    return outcome


_UNDOES = {
    "dispute_won": (ReversalKind.DISPUTE, ReversalState.WON, AuditAction.PAYMENT_DISPUTE_WON, ""),
    "refund_failed": (
        ReversalKind.REFUND,
        ReversalState.REFUSED,
        AuditAction.PAYMENT_REFUND_REFUSED,
        "It failed at the provider.",
    ),
}
