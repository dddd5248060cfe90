"""Top-ups: start a payment at a provider, let its payer cancel it, and expire it when it is not paid in time."""

import logging
import uuid
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.payments import Payment, PaymentFailure, PaymentStatus
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound, ProviderDown, ProviderRefused
from models.services.ledger.money import CENT, require_amount
from models.services.payments import payment_queries, providers, reversals, settlement, status_checks
from models.services.payments.providers import limits
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
    """Start a top-up of `amount` ZNC; the user pays at the payment's `checkout_url`.

    The caller may choose the id, so that `return_url` can contain it. Nothing is locked or written before the provider
    has responded: a slow provider must not keep an admin from disabling the user. Raises NotFound for a user who has
    deleted their account meanwhile; the row lock taken here delays a deletion until the commit.
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


def expire(session: Session) -> int:
    """Mark overdue pending payments as expired; return how many."""
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
    """Cancel a pending payment for its payer; return its status afterwards.

    The provider is queried first, and the checkout is closed where the provider allows that. A payment made all the
    same is credited: the payment ends as an expired one. Raises NotFound, also for another user's payment.
    """
    payment = payment_queries.owned(session, owner, payment_id)
    if payment.status is not PaymentStatus.PENDING:
        return payment.status
    try:
        settlement.query_provider(session, payment_id, settings)
        providers.known(payment.provider, settings).cancel(session, payment)
    except (NotFound, ProviderDown, ProviderRefused):
        # A provider that is removed, down or refuses must not prevent the deletion of the account.
        logger.warning("payment %s: canceled without its provider", payment_id)
    payment = reversals.lock_payment(session, payment_id)
    if payment.status is PaymentStatus.PENDING:
        reversals.change_status(payment, PaymentStatus.EXPIRED)
        payment.failure = PaymentFailure.WITHDRAWN
        resource = ("payment", payment.id)
        audit_log.record(session, AuditAction.PAYMENT_EXPIRED, actor, user_id=payment.user_id, resource=resource)
        session.flush()
    return payment.status
