"""Reversals of payments in the ledger: refunds and disputes debit the wallet, what is spent already becomes a debt.

The debt is booked on the user's receivable account (docs/spec/design.md#money).
"""

import uuid
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
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
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound
from models.services.ledger import transfers
from models.services.ledger.money import CENT
from models.services.notifications import outbox
from models.services.payments import unclaimed_money
from models.services.promotions import bonus_corrections
from models.services.tokens import debt_pauses
from models.users import User

# Suffix of the idempotency key of the second transfer of a reversal.
_KEY_SUFFIXES = {AccountKind.RECEIVABLE: ":debt"}


def lock_payment(session: Session, payment_id: uuid.UUID) -> Payment:
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


def change_status(payment: Payment, status: PaymentStatus) -> None:
    """Change the status by an allowed transition. Raises ValueError for any other, which is a programming error."""
    if status not in MOVES[payment.status]:
        raise ValueError(f"a payment cannot change from {payment.status} to {status}")
    payment.status = status


def list_reversals(session: Session, payment_id: uuid.UUID) -> list[PaymentReversal]:
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
    """Debit the ZNC of a part of a locked payment from the wallet; the part that is not there becomes a debt.

    A referral bonus earned by them is withheld. Lock order: tokens (if `pause_tokens`: a debt pauses the tokens bought
    with the payment), the bonus's row as in a revocation, both wallets, then the platform's accounts. Any other order
    could deadlock.
    """
    amount_znc = znc_of_part(payment, amount_rub)
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
    wallet, balance = unclaimed_money.holding_account(session, payment)
    if bonus is not None:
        transfers.locked_wallet(session, bonus.referrer_id)
    from_wallet = min(balance, amount_znc)
    payment.returned_rub += amount_rub
    payment.returned_znc += amount_znc
    if payment.returned_rub == payment.amount_rub:
        change_status(payment, PaymentStatus.REFUNDED)
    session.flush()
    if pause_tokens and amount_znc > from_wallet:
        # Before the platform's account, which all payments share, is locked.
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
    """Credit the ZNC of a reversal again; the credit repays a debt first."""
    if reversal.amount_znc:
        for account, amount in unclaimed_money.receiving_accounts(session, payment, reversal.amount_znc):
            if account.kind is AccountKind.UNCLAIMED:
                unclaimed_money.require_review(session, payment.id)
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
                idempotency_key=f"reversal-undone:{reversal.id}{_KEY_SUFFIXES.get(account.kind, '')}",
                actor=PLATFORM,
            )
    if payment.status is PaymentStatus.REFUNDED:
        change_status(payment, PaymentStatus.SUCCEEDED)
    payment.returned_rub -= reversal.amount_rub
    payment.returned_znc -= reversal.amount_znc
    reversal.state, reversal.ended_at = state, clock.now()
    reversal.note, reversal.end_cause = note[:200], cause
    session.flush()


def znc_of_part(payment: Payment, amount_rub: Decimal) -> Decimal:
    """Return the ZNC that a part of a payment bought; the last part gets the remainder."""
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
    if reversal.note:
        facts["reason"] = reversal.note
    elif reversal.end_cause:
        facts["cause"] = str(reversal.end_cause)
    audit_log.record(session, action, actor, user_id=payment.user_id, resource=("payment", payment.id), **facts)
