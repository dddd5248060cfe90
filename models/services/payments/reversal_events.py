"""Provider reports on refunds and disputes: booked by rule, or left to an admin for review."""

import uuid

from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.payments import (
    IN_FORCE,
    Payment,
    PaymentEvent,
    PaymentResult,
    PaymentReversal,
    ReversalCause,
    ReversalKind,
    ReversalState,
)
from models.services.actor import PLATFORM
from models.services.payments import callbacks, reversals
from models.services.payments.event_results import EventResult, reversal_result


def settle(session: Session, payment: Payment, event: PaymentEvent, *, pause_tokens: bool) -> EventResult | None:
    """Book a provider's report of a refund or a dispute of a locked payment, and return the result.

    None while the payment itself is not settled: its own report may still arrive.
    """
    if payment.settled_at is None:
        # A refund of a payment that is not reported as paid yet: that report is late, not missing.
        is_late = event.received_at <= clock.now() - callbacks.WAITING_PERIOD
        late = EventResult(PaymentResult.PAYMENT_STATE, {"payment_status": payment.status.value}, needs_review=True)
        return late if is_late else None
    held = find(session, payment, event)
    if event.outcome in _UNDOES:
        return _undone(session, payment, held, event.outcome)
    if held is None:
        return _book(session, payment, event, pause_tokens=pause_tokens)
    if held.state is ReversalState.REQUESTED and held.amount_rub == event.amount_rub:
        reversals.finish(session, payment, held, event.refund_id)
        return EventResult(PaymentResult.REFUNDED)
    return _against(held, event)


def _against(held: PaymentReversal, event: PaymentEvent) -> EventResult:
    """Return the result of a report about a reversal that is booked already."""
    if held.state not in IN_FORCE:
        # A new reversal or an old report that is late: the report does not distinguish them, because Stripe does not
        # promise an order (docs.stripe.com/webhooks, "Event ordering").
        return reversal_result(held, needs_review=True)
    if held.amount_rub != event.amount_rub:
        amounts = {"refunded": f"{event.amount_rub:.2f}", "booked": f"{held.amount_rub:.2f}"}
        return EventResult(PaymentResult.AMOUNT_DIFFERS, amounts, needs_review=True)
    return reversal_result(held, needs_review=False)


def _book(session: Session, payment: Payment, event: PaymentEvent, *, pause_tokens: bool) -> EventResult:
    """Book a refund or a dispute that was started at the provider."""
    left = payment.amount_rub - payment.returned_rub
    if event.amount_rub > left:
        amounts = {"refunded": f"{event.amount_rub:.2f}", "left": f"{left:.2f}"}
        return EventResult(PaymentResult.AMOUNT_EXCEEDS_PAYMENT, amounts, needs_review=True)
    disputed = event.outcome == "disputed"
    kind = ReversalKind.DISPUTE if disputed else ReversalKind.REFUND
    cause = ReversalCause.DISPUTED_BY_BANK if disputed else ReversalCause.REFUNDED_AT_PROVIDER
    reversal = reversals.begin(
        session,
        payment,
        kind,
        event.amount_rub,
        reversal_id=uuid.uuid4(),
        cause=cause,
        actor=PLATFORM,
        pause_tokens=pause_tokens,
    )
    reversal.provider_key, reversal.state, reversal.ended_at = event.refund_id, ReversalState.DONE, clock.now()
    reversals.record(
        session, payment, AuditAction.PAYMENT_DISPUTED if disputed else AuditAction.PAYMENT_REFUNDED, reversal
    )
    return EventResult(PaymentResult(event.outcome))


def find(session: Session, payment: Payment, event: PaymentEvent) -> PaymentReversal | None:
    """Return the reversal of an event: by the provider's id, by ours, or a requested refund of the same amount.

    Of several with the provider's id, the one in force, or else the last undone one.
    """
    rows = sorted(reversals.list_reversals(session, payment.id), key=lambda row: row.created_at, reverse=True)
    by_id = [row for row in rows if event.refund_id is not None and row.provider_key == event.refund_id]
    by_key = [row for row in rows if event.refund_key is not None and str(row.id) == event.refund_key]
    expected = [
        row
        for row in rows
        if event.outcome == "refunded" and row.state is ReversalState.REQUESTED and row.amount_rub == event.amount_rub
    ]
    by_id.sort(key=lambda row: row.state not in IN_FORCE)
    return next(iter([*by_id, *by_key, *reversed(expected)]), None)


def _undone(session: Session, payment: Payment, held: PaymentReversal | None, outcome: str) -> EventResult:
    """Undo a reversal whose money did not reach the payer: a won dispute, or a refund that failed.

    The provider may have reported the refund as done before: a bank returns what it cannot credit.
    """
    kind, state, action, cause = _UNDOES[outcome]
    if held is None or held.kind is not kind:
        # A refund that failed before it was done was never booked.
        if kind is ReversalKind.REFUND:
            return EventResult(PaymentResult.REFUND_STATE, {"reversal_state": ReversalState.REFUSED.value})
        return EventResult(PaymentResult.DISPUTE_UNKNOWN, needs_review=True)
    if held.state is state:
        return reversal_result(held, needs_review=False)
    reversals.undo(session, payment, held, state, cause=cause)
    reversals.record(session, payment, action, held)
    return EventResult(PaymentResult(outcome))


_UNDOES = {
    "dispute_won": (ReversalKind.DISPUTE, ReversalState.WON, AuditAction.PAYMENT_DISPUTE_WON, None),
    "refund_failed": (
        ReversalKind.REFUND,
        ReversalState.REFUSED,
        AuditAction.PAYMENT_REFUND_REFUSED,
        ReversalCause.FAILED_AT_PROVIDER,
    ),
}
