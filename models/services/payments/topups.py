"""Topping up: a payment is started, its provider's callbacks are stored, and a job settles them once."""

import logging
import uuid
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import AccountKind, TransferKind, TransferPurpose
from models.payments import (
    MOVES,
    Payment,
    PaymentEvent,
    PaymentFailure,
    PaymentResult,
    PaymentStatus,
    ReversalCause,
    ReversalKind,
)
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound, ProviderDown, ProviderRefused
from models.services.ledger import transfers
from models.services.ledger.money import CENT, require_amount
from models.services.notifications import outbox
from models.services.pagination import Page, fetch_page
from models.services.payments import (
    callbacks,
    limits,
    providers,
    reversal_events,
    reversals,
    status_checks,
)
from models.services.payments.event_results import EventResult
from models.services.payments.providers.base import OF_A_PART
from models.users import User

logger = logging.getLogger(__name__)


def start(
    session: Session,
    user: User,
    *,
    amount: Decimal,
    provider: str,
    return_url: str,
    settings: Settings,
    actor: Actor,
    payment_id: uuid.UUID | None = None,
) -> Payment:
    """Begin a top-up of `amount` ZNC; the payment's `checkout_url` is where the user pays.

    The caller may choose the id, so that `return_url` can name the payment. Nothing is locked or written before the
    provider has answered: who is slow must keep no admin from disabling this user. Raises NotFound for somebody who
    has just deleted his account; from then on, to the commit, he cannot (leaving.py).
    """
    if session.scalar(select(User.deleted_at).where(User.id == user.id)) is not None:
        raise NotFound("user")
    rate, moment = settings.prices.rub_per_znc, clock.now()
    payment = Payment(
        id=payment_id or uuid.uuid4(),
        user_id=user.id,
        provider=provider,
        amount_znc=require_amount(amount),
        amount_rub=require_amount((amount * rate).quantize(CENT, rounding=ROUND_HALF_UP)),
        rub_per_znc=rate,
        status=PaymentStatus.PENDING,
        return_url=return_url,
        created_at=moment,
        expires_at=moment + timedelta(minutes=settings.payments.pending_minutes),
        check_at=moment + status_checks.FIRST_CHECK,
    )
    limits.check(provider, payment.amount_znc, settings)
    payment.checkout_url = providers.get(provider, settings).create(session, payment)
    if session.scalar(select(User.deleted_at).where(User.id == user.id).with_for_update(read=True)) is not None:
        raise NotFound("user")
    session.add(payment)
    session.flush()
    audit_log.record(
        session,
        AuditAction.PAYMENT_CREATED,
        actor,
        user_id=user.id,
        resource=("payment", payment.id),
        amount=str(amount),
        provider=provider,
    )
    return payment


def settle(session: Session, event_id: uuid.UUID, *, pause_tokens: bool = True) -> str:
    """Act on a stored event once and return its PaymentResult; a second run finds it processed and does nothing.

    A refund whose payment is not settled yet, or not known yet, waits and is acted on by a later run. `pause_tokens` is
    `[debt] pause_tokens`: whether a debt pauses the tokens bought with the payment.
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
        result = _misfit(payment, event) or _act_on(session, payment, event, pause_tokens=pause_tokens)
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
    """Lock and return the payment that an event is about; None while none of ours has the name that it uses."""
    if event.payment_id is None:
        found = callbacks.named(session, event.provider, event.provider_payment_id)
        if found is None:
            return None
        event.payment_id = found.id
        session.flush()
    return reversals.locked(session, event.payment_id)


def _without_payment(event: PaymentEvent) -> EventResult | None:
    """Let go of what another product of the provider's account is about, and of whom it names."""
    if event.received_at > clock.now() - callbacks.PATIENCE:
        return None
    event.body = {}
    return EventResult(PaymentResult.PAYMENT_UNKNOWN)


def _misfit(payment: Payment, event: PaymentEvent) -> EventResult | None:
    if event.outcome == "unreadable":
        return EventResult(PaymentResult.UNREADABLE, needs_review=True)
    if callbacks.fits(payment, event):
        return None
    return EventResult(PaymentResult.AMOUNT_MISMATCH, needs_review=True)


def _act_on(session: Session, payment: Payment, event: PaymentEvent, *, pause_tokens: bool) -> EventResult | None:
    if event.outcome in OF_A_PART:
        return reversal_events.settle(session, payment, event, pause_tokens=pause_tokens)
    succeeded = event.outcome == "succeeded"
    if succeeded and PaymentStatus.SUCCEEDED in MOVES[payment.status] and payment.settled_at is None:
        return credit(session, payment, actor=PLATFORM)
    if not succeeded and PaymentStatus.CANCELED in MOVES[payment.status]:
        reversals.move(payment, PaymentStatus.CANCELED)
        payment.failure, payment.check_at = event.failure, None
        resource = ("payment", payment.id)
        audit_log.record(session, AuditAction.PAYMENT_CANCELED, PLATFORM, user_id=payment.user_id, resource=resource)
        return EventResult(PaymentResult.CANCELED)
    # A provider that takes money after it canceled the payment contradicts itself: an admin decides.
    needs_review = succeeded and payment.status is PaymentStatus.CANCELED
    return EventResult(PaymentResult.PAYMENT_STATE, {"payment_status": payment.status.value}, needs_review)


def credit(session: Session, payment: Payment, *, actor: Actor) -> EventResult:
    """Settle a locked payment: its ZNC go into the wallet, once; returns what was done.

    Those for a deleted user are kept apart and refunded to the payer.
    """
    reversals.move(payment, PaymentStatus.SUCCEEDED)
    payment.settled_at, payment.failure = clock.now(), None
    payment.check_at = payment.settled_at + status_checks.SETTLED_EVERY
    callbacks.hurry(session, payment)
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


def ask_provider(session: Session, payment_id: uuid.UUID, settings: Settings) -> str | None:
    """Query a payment's provider and settle the payment; returns the last PaymentResult, None when there is no news.

    No row is locked while the provider is asked. Raises NotFound, ProviderRefused, ProviderDown, and CallbackRefused
    when the answer cannot be stored.
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


def expire(session: Session) -> int:
    """Mark pending payments whose time is over as expired; returns how many."""
    moment = clock.now()
    expired = session.execute(
        update(Payment)
        .where(Payment.status == PaymentStatus.PENDING, Payment.expires_at <= moment)
        .values(status=PaymentStatus.EXPIRED)
        .returning(Payment.id, Payment.user_id)
        .execution_options(synchronize_session=False)
    ).all()
    for payment_id, user_id in expired:
        audit_log.record(
            session, AuditAction.PAYMENT_EXPIRED, PLATFORM, user_id=user_id, resource=("payment", payment_id)
        )
    return len(expired)


def withdraw(
    session: Session, owner: User, payment_id: uuid.UUID, *, settings: Settings, actor: Actor
) -> PaymentStatus:
    """Cancel a pending payment for its payer; returns its status afterwards.

    The provider is asked first, and told where it can be. What is paid all the same is credited: the payment ends as
    one that ran out of time. Raises NotFound for a stranger's.
    """
    payment = owned(session, owner, payment_id)
    if payment.status is not PaymentStatus.PENDING:
        return payment.status
    try:
        ask_provider(session, payment_id, settings)
        providers.known(payment.provider, settings).cancel(session, payment)
    except (NotFound, ProviderDown, ProviderRefused):
        # A provider that is removed, down or refuses must not keep the payer from deleting their account.
        logger.warning("payment %s is withdrawn without its provider", payment_id)
    payment = reversals.locked(session, payment_id)
    if payment.status is PaymentStatus.PENDING:
        reversals.move(payment, PaymentStatus.EXPIRED)
        payment.failure = PaymentFailure.WITHDRAWN
        resource = ("payment", payment.id)
        audit_log.record(session, AuditAction.PAYMENT_EXPIRED, actor, user_id=payment.user_id, resource=resource)
        session.flush()
    return payment.status


def owned(session: Session, owner: User, payment_id: uuid.UUID) -> Payment:
    """Return the owner's payment; a stranger's is NotFound."""
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


def events_of(session: Session, payment_id: uuid.UUID) -> list[PaymentEvent]:
    """Return the provider's reports on a payment, oldest first."""
    query = select(PaymentEvent).where(PaymentEvent.payment_id == payment_id)
    return list(session.scalars(query.order_by(PaymentEvent.received_at)))


def said_of(session: Session, payment_id: uuid.UUID, *, limit: int, offset: int) -> Page[PaymentEvent]:
    """Return a page of the provider's reports on a payment, newest first."""
    query = select(PaymentEvent).where(PaymentEvent.payment_id == payment_id)
    return fetch_page(
        session, query, order=(PaymentEvent.received_at.desc(), PaymentEvent.id), limit=limit, offset=offset
    )


def listing(session: Session, *, limit: int, offset: int, user_id: uuid.UUID | None = None) -> Page[Payment]:
    """Return a page of payments with their users, newest first."""
    query = select(Payment).options(joinedload(Payment.user))
    if user_id is not None:
        query = query.where(Payment.user_id == user_id)
    return fetch_page(session, query, order=(Payment.created_at.desc(), Payment.id), limit=limit, offset=offset)
