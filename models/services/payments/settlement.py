"""Settlement of payments: act once on a provider's reports, credit paid payments, and query providers for news."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import AccountKind, TransferKind, TransferPurpose
from models.payments import (
    MOVES,
    Payment,
    PaymentEvent,
    PaymentResult,
    PaymentStatus,
    ReversalCause,
    ReversalKind,
)
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound
from models.services.ledger import transfers
from models.services.notifications import outbox
from models.services.payments import callbacks, providers, reversal_events, reversals, status_checks
from models.services.payments.event_results import EventResult
from models.services.payments.providers.base import PARTIAL_OUTCOMES
from models.users import User


def settle(session: Session, event_id: uuid.UUID, *, pause_tokens: bool = True) -> str:
    """Process a stored event once and return its PaymentResult; a second run finds it processed and does nothing.

    A refund of a payment that is not settled or not known yet is postponed. `pause_tokens` is `[debt] pause_tokens`:
    whether a debt pauses the tokens bought with the payment.
    """
    event = session.scalars(select(PaymentEvent).where(PaymentEvent.id == event_id).with_for_update()).one_or_none()
    if event is None:
        raise NotFound("payment_event")
    if event.processed_at is not None:
        return event.result or ""
    payment = _payment_of(session, event)
    if payment is None:
        result = _without_payment(event)
    else:
        result = _mismatch(payment, event) or _process(session, payment, event, pause_tokens=pause_tokens)
    if result is None:
        callbacks.postpone(session, event.id)
        return PaymentResult.WAITING
    if payment is not None and result.needs_review:
        event.needs_review = True
        resource = ("payment", payment.id)
        action = AuditAction.PAYMENT_NEEDS_REVIEW
        audit_log.record(session, action, PLATFORM, user_id=payment.user_id, resource=resource, event=event.event_id)
    event.processed_at = clock.now()
    event.result, event.result_details = result.code, result.details
    session.flush()
    return result.code


def _payment_of(session: Session, event: PaymentEvent) -> Payment | None:
    """Lock and return the payment of an event; None while we know no payment with that id at the provider."""
    if event.payment_id is None:
        found = callbacks.find_payment(session, event.provider, event.provider_payment_id)
        if found is None:
            return None
        event.payment_id = found.id
        session.flush()
    return reversals.lock_payment(session, event.payment_id)


def _without_payment(event: PaymentEvent) -> EventResult | None:
    """Close an event about a payment of another product of the provider's account, and delete its personal data."""
    if event.received_at > clock.now() - callbacks.WAITING_PERIOD:
        return None
    event.body = {}
    return EventResult(PaymentResult.PAYMENT_UNKNOWN)


def _mismatch(payment: Payment, event: PaymentEvent) -> EventResult | None:
    if event.outcome == "unreadable":
        return EventResult(PaymentResult.UNREADABLE, needs_review=True)
    if callbacks.amount_matches(payment, event):
        return None
    return EventResult(PaymentResult.AMOUNT_MISMATCH, needs_review=True)


def _process(session: Session, payment: Payment, event: PaymentEvent, *, pause_tokens: bool) -> EventResult | None:
    if event.outcome in PARTIAL_OUTCOMES:
        return reversal_events.settle(session, payment, event, pause_tokens=pause_tokens)
    succeeded = event.outcome == "succeeded"
    if succeeded and PaymentStatus.SUCCEEDED in MOVES[payment.status] and payment.settled_at is None:
        return credit(session, payment, actor=PLATFORM)
    if not succeeded and PaymentStatus.CANCELED in MOVES[payment.status]:
        reversals.change_status(payment, PaymentStatus.CANCELED)
        payment.failure, payment.check_at = event.failure, None
        resource = ("payment", payment.id)
        audit_log.record(session, AuditAction.PAYMENT_CANCELED, PLATFORM, user_id=payment.user_id, resource=resource)
        return EventResult(PaymentResult.CANCELED)
    # A provider that takes money after it canceled the payment contradicts itself: an admin decides.
    needs_review = succeeded and payment.status is PaymentStatus.CANCELED
    return EventResult(PaymentResult.PAYMENT_STATE, {"payment_status": payment.status.value}, needs_review)


def credit(session: Session, payment: Payment, *, actor: Actor) -> EventResult:
    """Settle a locked payment: credit its ZNC to the wallet, once; return the result.

    For a deleted user they are credited to the account for unclaimed money and refunded to the payer.
    """
    reversals.change_status(payment, PaymentStatus.SUCCEEDED)
    payment.settled_at, payment.failure = clock.now(), None
    payment.check_at = payment.settled_at + status_checks.SETTLED_EVERY
    callbacks.retry_waiting(session, payment)
    amounts = {"amount_znc": str(payment.amount_znc), "amount_rub": str(payment.amount_rub)}
    audit_log.record(
        session,
        AuditAction.PAYMENT_SETTLED,
        actor,
        user_id=payment.user_id,
        resource=("payment", payment.id),
        **amounts,
    )
    user = session.get_one(User, payment.user_id)
    outbox.enqueue_mail(session, "payment", user, dedup_key=f"payment:{payment.id}", username=user.username, **amounts)
    wallet = transfers.locked_wallet(session, payment.user_id)
    is_gone = wallet.closed_at is not None
    transfers.transfer(
        session,
        TransferKind.DEPOSIT,
        debit=transfers.system_account(session, AccountKind.PAYMENTS_RECEIVED),
        credit=transfers.system_account(session, AccountKind.UNCLAIMED) if is_gone else wallet,
        amount=payment.amount_znc,
        purpose=TransferPurpose.TOPUP,
        reference=("payment", payment.id),
        idempotency_key=f"deposit:{payment.id}",
        actor=actor,
    )
    if is_gone:
        # Paid after the deletion: refund it to the payer, and let an admin review whether that worked.
        facts: dict[str, Any] = {"reversal_id": uuid.uuid4(), "cause": ReversalCause.ACCOUNT_DELETED, "actor": PLATFORM}
        reversals.begin(session, payment, ReversalKind.REFUND, payment.amount_rub, pause_tokens=False, **facts)
        return EventResult(PaymentResult.ACCOUNT_DELETED, needs_review=True)
    return EventResult(PaymentResult.CREDITED)


def query_provider(session: Session, payment_id: uuid.UUID, settings: Settings) -> str | None:
    """Query a payment's provider and settle the payment; return the last PaymentResult, None when there is no news.

    No row is locked during the query. Raises NotFound, ProviderRefused, ProviderDown, and CallbackRefused when the
    response cannot be stored.
    """
    payment, asked_at = session.get(Payment, payment_id), clock.now()
    if payment is None:
        raise NotFound("payment")
    results = []
    for event in providers.known(payment.provider, settings).fetch(session, payment):
        stored = callbacks.store_event(session, payment.provider, event)
        if stored:
            results.append(settle(session, stored, pause_tokens=settings.debt.pause_tokens))
    status_checks.answered(session, payment_id, asked_at=asked_at, settings=settings)
    return results[-1] if results else None
