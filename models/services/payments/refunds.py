"""Refunds requested by admins: booked at once, then sent to the provider by a job until it has carried them out.

A refund takes only what is unspent of that very payment. The provider gets the reversal's id as idempotency key, so a
second run refunds once.
"""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import AccountKind
from models.payments import Payment, PaymentReversal, PaymentStatus, ReversalCause, ReversalKind, ReversalState
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import (
    DuplicateTransfer,
    InvalidInput,
    NotFound,
    NotRefundable,
    PaymentSpent,
    ProviderRefused,
)
from models.services.ledger.money import require_amount
from models.services.payments import providers, reversals, status_checks, unclaimed_money, unspent
from models.services.promotions import bonus_corrections


def request(
    session: Session,
    payment_id: uuid.UUID,
    *,
    amount_rub: Decimal,
    reason: str = "",
    cause: ReversalCause | None = None,
    key: uuid.UUID,
    actor: Actor,
) -> PaymentReversal:
    """Debit the ZNC of a refund of `amount_rub` rubles from the payer's wallet; a job asks the provider afterwards.

    `key` becomes the reversal's id: a form sent twice raises DuplicateTransfer. Raises InvalidInput, NotFound,
    NotRefundable, and PaymentSpent when less of this very payment is unspent.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=0 if cause else 3, at_most=200)
    payment = reversals.lock_payment(session, payment_id)
    if session.get(PaymentReversal, key) is not None:
        raise DuplicateTransfer(f"reversal:{key}")
    if payment.status is not PaymentStatus.SUCCEEDED:
        raise NotRefundable
    amount_rub = require_amount(amount_rub)
    if amount_rub > payment.amount_rub - payment.returned_rub:
        raise InvalidInput("amount", "amount_exceeds_payment")
    bonus_corrections.lock_of_buyer(session, payment.user_id)
    account, left = unclaimed_money.holding_account(session, payment)
    if account.kind is AccountKind.WALLET:
        left = unspent.unspent_amount(session, payment)
    if reversals.znc_of_part(payment, amount_rub) > left:
        raise PaymentSpent(left)
    facts: dict[str, Any] = {"reversal_id": key, "reason": reason, "cause": cause, "actor": actor}
    # The refunded amount is unspent, so no debt can arise.
    reversal = reversals.begin(session, payment, ReversalKind.REFUND, amount_rub, pause_tokens=False, **facts)
    details = {"amount_rub": str(amount_rub)} | ({"reason": reason} if reason else {"cause": str(cause)})
    action, resource = AuditAction.PAYMENT_REFUND_REQUESTED, ("payment", payment.id)
    audit_log.record(session, action, actor, user_id=payment.user_id, resource=resource, **details)
    return reversal


def send(session: Session, reversal_id: uuid.UUID, settings: Settings) -> ReversalState:
    """Ask the provider to carry out a requested refund; return its state afterwards.

    No row is locked during the provider's request. A refund that the provider has accepted but not carried out stays
    requested; a refusal credits the ZNC again. Raises NotFound, and ProviderDown when it has to be retried.
    """
    found = session.get(PaymentReversal, reversal_id)
    if found is None:
        raise NotFound("refund")
    if found.state is not ReversalState.REQUESTED:
        return found.state
    payment = session.get_one(Payment, found.payment_id)
    made, refused = None, ""
    try:
        made = providers.known(payment.provider, settings).refund(session, payment, found.amount_rub, str(found.id))
    except ProviderRefused as refusal:
        refused = refusal.message
    reversals.lock_payment(session, payment.id)
    session.refresh(found)
    if found.state is not ReversalState.REQUESTED:
        return found.state
    if made is None:
        reversals.undo(session, payment, found, ReversalState.REFUSED, note=refused)
        reversals.record(session, payment, AuditAction.PAYMENT_REFUND_REFUSED, found)
    elif made.is_done:
        reversals.finish(session, payment, found, made.id)
    else:
        found.provider_key = made.id
        postpone(session, found.id)
    return found.state


def unsent(older_than: timedelta) -> Select[uuid.UUID]:
    """Return the query for requested refunds that are due to be sent."""
    moment = clock.now()
    return select(PaymentReversal.id).where(
        PaymentReversal.state == ReversalState.REQUESTED,
        PaymentReversal.created_at < moment - older_than,
        PaymentReversal.retry_at <= moment,
    )


def due(session: Session, *, older_than: timedelta, limit: int = 200) -> list[uuid.UUID]:
    """Return the ids of requested refunds that are due to be sent, the longest due first."""
    return list(session.scalars(unsent(older_than).order_by(PaymentReversal.retry_at).limit(limit)))


def postpone(session: Session, reversal_id: uuid.UUID) -> None:
    """Schedule the next attempt of a refund, with exponential backoff."""
    reversal = session.get_one(PaymentReversal, reversal_id)
    reversal.retry_at = clock.now() + status_checks.backoff(reversal.failures)
    reversal.failures += 1
    session.flush()
