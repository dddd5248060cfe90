"""Reversals of payments: refunds by admins, and refunds and disputes that a provider or a bank reports.

The ZNC go back at once, from the wallet; what a chargeback finds spent already stays on the user's receivable
account as a debt (docs/spec/design.md#money). An admin's refund takes only what is unspent of that very payment.
The provider is asked afterwards by a job, with the reversal's id as idempotency key, so a second run refunds once.
"""

import uuid
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import Account, AccountKind, TransferKind, TransferPurpose
from models.payments import (
    MOVES,
    Payment,
    PaymentReversal,
    PaymentStatus,
    ReversalCause,
    ReversalKind,
    ReversalState,
)
from models.services import text_validation
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.errors import (
    DuplicateTransfer,
    InvalidInput,
    NotFound,
    NotRefundable,
    PaymentSpent,
    ProviderRefused,
)
from models.services.ledger import transfers
from models.services.ledger.money import CENT, require_amount
from models.services.notifications import outbox
from models.services.payments import providers, status_checks, unclaimed_money, unspent
from models.services.promotions import bonus_corrections
from models.services.tokens import debt_pauses
from models.users import User

# In the key of the second transfer for one reversal.
_PART = {AccountKind.RECEIVABLE: ":debt"}


def locked(session: Session, payment_id: uuid.UUID) -> Payment:
    """Lock a payment and return it as it is in the database now. Raises NotFound."""
    payment = session.scalars(
        select(Payment)
        .where(Payment.id == payment_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if payment is None:
        raise NotFound("payment")
    return payment


def move(payment: Payment, status: PaymentStatus) -> None:
    """Take one of the steps that there are; any other is a fault of ours."""
    if status not in MOVES[payment.status]:
        raise ValueError(f"a payment does not go from {payment.status} to {status}")
    payment.status = status


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
    """Take the ZNC of a refund from the payer's wallet and leave the rest to the job; amounts in roubles.

    `key` becomes the reversal's id: a form sent twice raises DuplicateTransfer. Raises InvalidInput, NotFound,
    NotRefundable, and PaymentSpent when less of this very payment is unspent than goes back.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=0 if cause else 3, at_most=200)
    payment = locked(session, payment_id)
    if session.get(PaymentReversal, key) is not None:
        raise DuplicateTransfer(f"reversal:{key}")
    if payment.status is not PaymentStatus.SUCCEEDED:
        raise NotRefundable
    amount_rub = require_amount(amount_rub)
    if amount_rub > payment.amount_rub - payment.returned_rub:
        raise InvalidInput("amount", "amount_exceeds_payment")
    bonus_corrections.lock_of_buyer(session, payment.user_id)
    account, left = unclaimed_money.holder(session, payment)
    if account.kind is AccountKind.WALLET:
        left = unspent.of_payment(session, payment)
    if _znc_of(payment, amount_rub) > left:
        raise PaymentSpent(left)
    facts: dict[str, Any] = {"reversal_id": key, "reason": reason, "cause": cause, "actor": actor}
    # What is refunded is unspent, so it makes no debt.
    reversal = begin(session, payment, ReversalKind.REFUND, amount_rub, pause_tokens=False, **facts)
    resource, facts = ("payment", payment.id), {"amount_rub": str(amount_rub), "reason": reason or str(cause)}
    action = AuditAction.PAYMENT_REFUND_REQUESTED
    audit_log.record(session, action, actor, user_id=payment.user_id, resource=resource, **facts)
    return reversal


def send(session: Session, reversal_id: uuid.UUID, settings: Settings) -> ReversalState:
    """Ask the provider to carry out a requested refund; returns its state afterwards.

    No row is locked while the provider is asked. One that the provider has taken down but not carried out stays
    requested. Raises NotFound, and ProviderDown when it has to be tried again. A refusal gives the ZNC back.
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
    locked(session, payment.id)
    session.refresh(found)
    if found.state is not ReversalState.REQUESTED:
        return found.state
    if made is None:
        undo(session, payment, found, ReversalState.REFUSED, note=refused)
        record(session, payment, AuditAction.PAYMENT_REFUND_REFUSED, found)
    elif made.is_done:
        finish(session, payment, found, made.id)
    else:
        found.provider_key = made.id
        postpone(session, found.id)
    return found.state


def waiting(session: Session, *, older_than: timedelta, limit: int = 200) -> list[uuid.UUID]:
    """Return refunds that their provider has not carried out and whose turn it is, the longest due first."""
    moment = clock.now()
    query = select(PaymentReversal.id).where(
        PaymentReversal.state == ReversalState.REQUESTED,
        PaymentReversal.created_at < moment - older_than,
        PaymentReversal.retry_at <= moment,
    )
    return list(session.scalars(query.order_by(PaymentReversal.retry_at).limit(limit)))


def postpone(session: Session, reversal_id: uuid.UUID) -> None:
    """Ask for a refund again later, each time after twice the wait."""
    reversal = session.get_one(PaymentReversal, reversal_id)
    reversal.retry_at = clock.now() + status_checks.backoff(reversal.failures)
    reversal.failures += 1
    session.flush()


def of_payment(session: Session, payment_id: uuid.UUID) -> list[PaymentReversal]:
    """Return the reversals of a payment, oldest first."""
    query = select(PaymentReversal).where(PaymentReversal.payment_id == payment_id)
    return list(session.scalars(query.order_by(PaymentReversal.created_at)))


def begin(
    session: Session,
    payment: Payment,
    kind: ReversalKind,
    amount_rub: Decimal,
    *,
    reversal_id: uuid.UUID,
    reason: str = "",
    cause: ReversalCause | None = None,
    actor: Actor,
    pause_tokens: bool,
) -> PaymentReversal:
    """Take the ZNC of a locked payment back: from the wallet, and what is not there as a debt.

    A referral bonus that stood on them goes back, too. Its row is locked before any account, as in a revocation, and
    the wallets of both before accounts of the platform: the other order could deadlock. With
    `pause_tokens` a debt pauses the tokens bought with the payment, which are locked first.
    """
    amount_znc = _znc_of(payment, amount_rub)
    reversal = PaymentReversal(
        id=reversal_id,
        payment_id=payment.id,
        kind=kind,
        state=ReversalState.REQUESTED,
        amount_rub=amount_rub,
        amount_znc=amount_znc,
        reason=reason,
        cause=cause,
        actor_id=actor.user_id,
    )
    session.add(reversal)
    if pause_tokens:
        debt_pauses.lock_tokens(session, payment.user_id)
    bonus = bonus_corrections.lock_of_buyer(session, payment.user_id)
    wallet, balance = unclaimed_money.holder(session, payment)
    if bonus is not None:
        transfers.locked_wallet(session, bonus.referrer_id)
    from_wallet = min(balance, amount_znc)
    payment.returned_rub += amount_rub
    payment.returned_znc += amount_znc
    if payment.returned_rub == payment.amount_rub:
        move(payment, PaymentStatus.REFUNDED)
    session.flush()
    if pause_tokens and amount_znc > from_wallet:
        # Before the platform's account is locked, which all payments share.
        debt = transfers.debt_of(session, payment.user_id) + amount_znc - from_wallet
        debt_pauses.pause_for(session, payment.user_id, debt, because=reversal_id)
    if from_wallet:
        _take(session, reversal, payment, wallet, from_wallet, f"reversal:{reversal_id}")
    if amount_znc > from_wallet:
        receivable = transfers.personal_account(session, payment.user_id, AccountKind.RECEIVABLE)
        _take(session, reversal, payment, receivable, amount_znc - from_wallet, f"reversal-debt:{reversal_id}")
    session.flush()
    if bonus is not None:
        bonus_corrections.withhold(session, bonus, because=reversal.id, actor=actor)
    return reversal


def finish(
    session: Session,
    payment: Payment,
    reversal: PaymentReversal,
    provider_key: str | None,
    *,
    actor: Actor = PLATFORM,
) -> None:
    """Mark a requested refund as carried out, and notify the payer."""
    reversal.state, reversal.ended_at = ReversalState.DONE, clock.now()
    reversal.provider_key = provider_key
    user = session.get_one(User, payment.user_id)
    amounts = {"amount_rub": f"{reversal.amount_rub:.2f}", "amount_znc": f"{reversal.amount_znc:.2f}"}
    dedup_key = f"money_back:{reversal.id}"
    outbox.enqueue_mail(session, "money_back", user, dedup_key=dedup_key, username=user.username, **amounts)
    record(session, payment, AuditAction.PAYMENT_REFUNDED, reversal, actor=actor)


def undo(
    session: Session,
    payment: Payment,
    reversal: PaymentReversal,
    state: ReversalState,
    *,
    note: str = "",
    cause: ReversalCause | None = None,
) -> None:
    """Give the ZNC of a reversal back; a debt that it left is repaid by that first."""
    if reversal.amount_znc:
        for account, amount in unclaimed_money.receivers(session, payment, reversal.amount_znc):
            if account.kind is AccountKind.UNCLAIMED:
                unclaimed_money.put_before_an_admin(session, payment.id)
            transfers.transfer(
                session,
                TransferKind.REVERSAL,
                debit=transfers.system_account(session, AccountKind.PAYMENTS_RECEIVED),
                credit=account,
                amount=amount,
                purpose=(
                    TransferPurpose.DISPUTE_WON if state is ReversalState.WON else TransferPurpose.REFUND_REJECTED
                ),
                reference=("payment", payment.id),
                idempotency_key=f"reversal-undone:{reversal.id}{_PART.get(account.kind, '')}",
                actor=PLATFORM,
            )
    if payment.status is PaymentStatus.REFUNDED:
        move(payment, PaymentStatus.SUCCEEDED)
    payment.returned_rub -= reversal.amount_rub
    payment.returned_znc -= reversal.amount_znc
    reversal.state, reversal.ended_at = state, clock.now()
    reversal.note, reversal.end_cause = note[:200], cause
    session.flush()


def _znc_of(payment: Payment, amount_rub: Decimal) -> Decimal:
    """Return the ZNC that were bought with a part of a payment; the last part takes what is left."""
    left_rub, left_znc = payment.amount_rub - payment.returned_rub, payment.amount_znc - payment.returned_znc
    if amount_rub >= left_rub:
        return left_znc
    share = (amount_rub / payment.rub_per_znc).quantize(CENT, rounding=ROUND_HALF_UP)
    return min(max(share, CENT), left_znc)


_PURPOSES = {
    ReversalKind.REFUND: TransferPurpose.PAYMENT_REFUNDED,
    ReversalKind.DISPUTE: TransferPurpose.PAYMENT_DISPUTED,
}


def _take(  # noqa: PLR0917 - one ledger entry
    session: Session, reversal: PaymentReversal, payment: Payment, debit: Account, amount: Decimal, key: str
) -> None:
    transfers.transfer(
        session,
        TransferKind.REVERSAL,
        debit=debit,
        credit=transfers.system_account(session, AccountKind.PAYMENTS_RECEIVED),
        amount=amount,
        purpose=_PURPOSES[reversal.kind],
        reference=("payment", payment.id),
        idempotency_key=key,
        actor=Actor(reversal.actor_id),
    )


def record(
    session: Session, payment: Payment, action: AuditAction, reversal: PaymentReversal, *, actor: Actor = PLATFORM
) -> None:
    """Write the audit entry of a reversal."""
    facts = {"amount_rub": str(reversal.amount_rub), "amount_znc": str(reversal.amount_znc)}
    if reason := reversal.note or reversal.end_cause:
        facts["reason"] = str(reason)
    audit_log.record(session, action, actor, user_id=payment.user_id, resource=("payment", payment.id), **facts)
