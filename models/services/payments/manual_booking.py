"""Manual booking by admins: chargebacks announced by mail, reviewed reports, refunds with another outcome."""

import uuid
from decimal import Decimal

from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.payments import (
    IN_FORCE,
    Payment,
    PaymentEvent,
    PaymentReversal,
    PaymentStatus,
    ReversalKind,
    ReversalState,
)
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import DuplicateTransfer, InvalidInput, NotFound, NotRefundable
from models.services.ledger.money import require_amount
from models.services.payments import manual_review, reversal_events, reversals, settlement

# The states that an admin may set a reversal to, and the audit action of each.
ENDINGS = {
    (ReversalKind.REFUND, ReversalState.REQUESTED): (ReversalState.DONE, ReversalState.REFUSED),
    (ReversalKind.REFUND, ReversalState.DONE): (ReversalState.REFUSED,),
    (ReversalKind.DISPUTE, ReversalState.DONE): (ReversalState.WON,),
}
_ACTIONS = {
    ReversalState.DONE: AuditAction.PAYMENT_REFUNDED,
    ReversalState.REFUSED: AuditAction.PAYMENT_REFUND_REFUSED,
    ReversalState.WON: AuditAction.PAYMENT_DISPUTE_WON,
}
BOOKABLE = frozenset({"succeeded", "refunded", "refund_failed", "disputed", "dispute_won"})


def book_chargeback(
    session: Session,
    payment_id: uuid.UUID,
    *,
    amount_rub: Decimal,
    reference: str,
    reason: str,
    key: uuid.UUID,
    actor: Actor,
    pause_tokens: bool = True,
) -> PaymentReversal:
    """Book a chargeback: debit the ZNC from the wallet; what is spent already becomes a debt.

    `reference` is its id at the bank or provider, `key` becomes the reversal's id: a form sent twice raises
    DuplicateTransfer. Raises InvalidInput, NotFound, and NotRefundable for a payment that was not settled.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=3, at_most=200)
    reference = text_validation.one_line(reference, field="reference", at_least=1, at_most=120)
    payment = reversals.lock_payment(session, payment_id)
    if session.get(PaymentReversal, key) is not None:
        raise DuplicateTransfer(f"reversal:{key}")
    if payment.settled_at is None:
        raise NotRefundable
    amount_rub = require_amount(amount_rub)
    if amount_rub > payment.amount_rub - payment.returned_rub:
        raise InvalidInput("amount", "amount_exceeds_payment")
    booked = [row.provider_key for row in reversals.list_reversals(session, payment.id) if row.state in IN_FORCE]
    if reference in booked:
        raise InvalidInput("reference", "dispute_already_booked")
    return _take(
        session,
        payment,
        ReversalKind.DISPUTE,
        amount_rub,
        key=key,
        reference=reference,
        reason=reason,
        actor=actor,
        pause_tokens=pause_tokens,
    )


def end(
    session: Session,
    payment_id: uuid.UUID,
    reversal_id: uuid.UUID,
    *,
    state: ReversalState,
    reason: str,
    actor: Actor,
) -> PaymentReversal:
    """Set the final state of a refund or a dispute by hand: carried out, refused, or won.

    A removed provider cannot be queried, and some outcomes are reported by e-mail only. Raises NotFound, and
    InvalidInput when the reversal's state has changed meanwhile.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=3, at_most=200)
    payment = reversals.lock_payment(session, payment_id)
    found = session.get(PaymentReversal, reversal_id, populate_existing=True)
    if found is None or found.payment_id != payment.id:
        raise NotFound("refund")
    if state not in ENDINGS.get((found.kind, found.state), ()):
        raise InvalidInput("reason", "changed_meanwhile")
    if state is ReversalState.DONE:
        found.note = reason
        reversals.finish(session, payment, found, found.provider_key, actor=actor)
    else:
        reversals.undo(session, payment, found, state, note=reason)
        reversals.record(session, payment, _ACTIONS[state], found, actor=actor)
    return found


def book_event(
    session: Session, event_id: uuid.UUID, *, note: str, actor: Actor, pause_tokens: bool = True
) -> PaymentEvent:
    """Book a report that needs review as an admin decided, and close the review.

    A success credits the payment even if it was canceled or the amount differs; a refund or dispute debits up to what
    is left of the payment; a won dispute or a failed refund credits the ZNC again. Raises NotFound for an event that
    needs no review, and InvalidInput for an empty note or when there is nothing to book.
    """
    event = manual_review.close(session, event_id, note=note, actor=actor)
    if event.payment_id is None:
        raise NotFound("payment")
    payment = reversals.lock_payment(session, event.payment_id)
    if not _book(session, payment, event, actor, pause_tokens=pause_tokens):
        raise InvalidInput("note", "nothing_to_book")
    session.flush()
    return event


def _book(session: Session, payment: Payment, event: PaymentEvent, actor: Actor, *, pause_tokens: bool) -> bool:
    held = reversal_events.find(session, payment, event)
    in_force = held is not None and held.state in IN_FORCE
    match event.outcome:
        case "succeeded" if payment.settled_at is None:
            if payment.status is PaymentStatus.CANCELED:
                # The provider took the money after canceling: the payment counts as expired, which may still succeed.
                payment.status = PaymentStatus.EXPIRED
            settlement.credit(session, payment, actor=actor)
        case "dispute_won" | "refund_failed" if held is not None and in_force:
            state = ReversalState.WON if held.kind is ReversalKind.DISPUTE else ReversalState.REFUSED
            reversals.undo(session, payment, held, state, note=event.review_note)
            reversals.record(session, payment, _ACTIONS[state], held, actor=actor)
        case "refunded" | "disputed" if not in_force and payment.settled_at is not None and event.currency == "RUB":
            amount = min(event.amount_rub, payment.amount_rub - payment.returned_rub)
            if amount <= 0:
                return False
            kind = ReversalKind.DISPUTE if event.outcome == "disputed" else ReversalKind.REFUND
            facts = {"key": uuid.uuid4(), "reference": event.refund_id, "reason": event.review_note, "actor": actor}
            _take(session, payment, kind, amount, pause_tokens=pause_tokens, **facts)  # type: ignore[arg-type]
        case _:
            return False
    return True


def _take(
    session: Session,
    payment: Payment,
    kind: ReversalKind,
    amount_rub: Decimal,
    *,
    key: uuid.UUID,
    reference: str | None,
    reason: str,
    actor: Actor,
    pause_tokens: bool,
) -> PaymentReversal:
    reversal = reversals.begin(
        session,
        payment,
        kind,
        amount_rub,
        reversal_id=key,
        reason=reason,
        actor=actor,
        pause_tokens=pause_tokens,
    )
    reversal.provider_key, reversal.state, reversal.ended_at = reference, ReversalState.DONE, clock.now()
    session.flush()
    action = AuditAction.PAYMENT_DISPUTED if kind is ReversalKind.DISPUTE else AuditAction.PAYMENT_REFUNDED
    facts = {"amount_rub": str(amount_rub), "amount_znc": str(reversal.amount_znc), "reason": reason}
    audit_log.record(session, action, actor, user_id=payment.user_id, resource=("payment", payment.id), **facts)
    return reversal
