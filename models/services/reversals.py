"""Money that goes back to a payer: refunds that admins make, and what the provider or a bank takes back by itself.

The ZNC go back at once, from the wallet; what a chargeback finds spent already stays on the user's receivable
account as a debt (design.md, "Money"). An admin's refund takes only what the wallet still has. The provider is asked
afterwards, by a job and with the reversal's id as its key, so that a crash or a second run gives nothing back twice.
"""

import uuid
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config import Settings
from models.ledger import Account, AccountKind, TransferKind
from models.payments import (
    MOVES,
    Payment,
    PaymentEvent,
    PaymentReversal,
    PaymentStatus,
    ReversalKind,
    ReversalState,
)
from models.services import audit, ledger, outbox, providers, texts
from models.services.context import PLATFORM, Actor
from models.services.errors import (
    DuplicateTransfer,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    NotRefundable,
    ProviderRefused,
)
from models.services.money import CENT, checked
from models.users import User

# A provider that refunds a payment of which we have not heard yet is late with its first word, not wrong.
PATIENCE = timedelta(days=1)


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
    session: Session, payment_id: uuid.UUID, *, amount_rub: Decimal, reason: str, key: uuid.UUID, actor: Actor
) -> PaymentReversal:
    """Take the ZNC of a refund from the payer's wallet and leave the rest to the job; amounts in roubles.

    `key` becomes the reversal's id: a form sent twice raises DuplicateTransfer. Raises InvalidInput, NotFound,
    NotRefundable, and InsufficientFunds when the wallet has less than goes back.
    """
    reason = texts.one_line(reason, field="reason", at_least=3, at_most=200)
    payment = locked(session, payment_id)
    if session.get(PaymentReversal, key) is not None:
        raise DuplicateTransfer(f"reversal:{key}")
    if payment.status is not PaymentStatus.SUCCEEDED:
        raise NotRefundable
    amount_rub = checked(amount_rub)
    if amount_rub > payment.amount_rub - payment.returned_rub:
        raise InvalidInput("amount", "This is more than is left of the payment.")
    wallet = ledger.locked_wallet(session, payment.user_id)
    amount_znc = _znc_of(payment, amount_rub)
    if amount_znc > wallet.balance:
        raise InsufficientFunds(amount_znc)
    reversal = _begin(session, payment, ReversalKind.REFUND, amount_rub, reversal_id=key, reason=reason, actor=actor)
    resource, facts = ("payment", payment.id), {"amount_rub": str(amount_rub), "reason": reason}
    action = AuditAction.PAYMENT_REFUND_REQUESTED
    audit.record(session, action, actor, user_id=payment.user_id, resource=resource, **facts)
    return reversal


def send(session: Session, reversal_id: uuid.UUID, settings: Settings) -> ReversalState:
    """Ask the provider to carry out a requested refund; returns how it stands then.

    Raises NotFound, and ProviderDown when it has to be tried again. A provider's refusal gives the ZNC back.
    """
    found = session.get(PaymentReversal, reversal_id)
    if found is None:
        raise NotFound("refund")
    payment = locked(session, found.payment_id)
    session.refresh(found)
    if found.state is not ReversalState.REQUESTED:
        return found.state
    provider = providers.get(payment.provider, settings)
    try:
        provider_key = provider.refund(session, payment, found.amount_rub, str(found.id))
    except ProviderRefused as refusal:
        _undo(session, payment, found, ReversalState.REFUSED, note=str(refusal))
        _record(session, payment, AuditAction.PAYMENT_REFUND_REFUSED, found)
    else:
        _finish(session, payment, found, provider_key)
    return found.state


def waiting(session: Session, *, older_than: timedelta, limit: int = 200) -> list[uuid.UUID]:
    """Return refunds that their provider has not carried out, oldest first."""
    query = select(PaymentReversal.id).where(
        PaymentReversal.state == ReversalState.REQUESTED, PaymentReversal.created_at < clock.now() - older_than
    )
    return list(session.scalars(query.order_by(PaymentReversal.created_at).limit(limit)))


def of_payment(session: Session, payment_id: uuid.UUID) -> list[PaymentReversal]:
    """Return what went back of a payment, oldest first."""
    query = select(PaymentReversal).where(PaymentReversal.payment_id == payment_id)
    return list(session.scalars(query.order_by(PaymentReversal.created_at)))


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
    _finish(session, payment, held, event.refund_id)
    return "refunded"


def _book(session: Session, payment: Payment, event: PaymentEvent) -> str:
    """Book a refund or a dispute that did not begin here."""
    left = payment.amount_rub - payment.returned_rub
    if event.amount_rub > left:
        return f"review: {event.amount_rub} RUB went back, and {left} RUB were left"
    disputed = event.outcome == "disputed"
    kind = ReversalKind.DISPUTE if disputed else ReversalKind.REFUND
    reason = "Disputed by the payer's bank" if disputed else "Refunded at the provider"
    reversal = _begin(session, payment, kind, event.amount_rub, reversal_id=uuid.uuid4(), reason=reason, actor=PLATFORM)
    reversal.provider_key, reversal.state, reversal.ended_at = event.refund_id, ReversalState.DONE, clock.now()
    _record(session, payment, AuditAction.PAYMENT_DISPUTED if disputed else AuditAction.PAYMENT_REFUNDED, reversal)
    return event.outcome


def _find(session: Session, payment: Payment, event: PaymentEvent) -> PaymentReversal | None:
    """Return the reversal that an event is about: by the provider's id, by ours, or the one that waits for it."""
    rows = of_payment(session, payment.id)
    by_id = [row for row in rows if event.refund_id is not None and row.provider_key == event.refund_id]
    by_key = [row for row in rows if event.refund_key is not None and str(row.id) == event.refund_key]
    expected = [
        row
        for row in rows
        if event.outcome == "refunded" and row.state is ReversalState.REQUESTED and row.amount_rub == event.amount_rub
    ]
    return next(iter([*by_id, *by_key, *expected]), None)


def _begin(
    session: Session,
    payment: Payment,
    kind: ReversalKind,
    amount_rub: Decimal,
    *,
    reversal_id: uuid.UUID,
    reason: str,
    actor: Actor,
) -> PaymentReversal:
    """Take the ZNC of a locked payment back: from the wallet, and what is not there as a debt."""
    amount_znc = _znc_of(payment, amount_rub)
    reversal = PaymentReversal(
        id=reversal_id,
        payment_id=payment.id,
        kind=kind,
        state=ReversalState.REQUESTED,
        amount_rub=amount_rub,
        amount_znc=amount_znc,
        reason=reason,
        actor_id=actor.user_id,
    )
    session.add(reversal)
    wallet = ledger.locked_wallet(session, payment.user_id)
    from_wallet = min(wallet.balance, amount_znc)
    if from_wallet:
        _take(session, reversal, payment, wallet, from_wallet, f"reversal:{reversal_id}")
    if amount_znc > from_wallet:
        receivable = ledger.personal_account(session, payment.user_id, AccountKind.RECEIVABLE)
        _take(session, reversal, payment, receivable, amount_znc - from_wallet, f"reversal-debt:{reversal_id}")
    payment.returned_rub += amount_rub
    payment.returned_znc += amount_znc
    if payment.returned_rub == payment.amount_rub:
        move(payment, PaymentStatus.REFUNDED)
    session.flush()
    return reversal


def _finish(session: Session, payment: Payment, reversal: PaymentReversal, provider_key: str | None) -> None:
    reversal.state, reversal.ended_at = ReversalState.DONE, clock.now()
    reversal.provider_key = provider_key
    user = session.get_one(User, payment.user_id)
    amounts = {"amount_rub": f"{reversal.amount_rub:.2f}", "amount_znc": f"{reversal.amount_znc:.2f}"}
    dedup_key = f"money_back:{reversal.id}"
    outbox.write(session, "money_back", user, dedup_key=dedup_key, username=user.username, **amounts)
    _record(session, payment, AuditAction.PAYMENT_REFUNDED, reversal)


def _win(session: Session, payment: Payment, held: PaymentReversal | None) -> str:
    if held is None or held.kind is not ReversalKind.DISPUTE:
        return "review: a dispute was won that is not known here"
    if held.state is not ReversalState.DONE:
        return f"ignored: the dispute is {held.state}"
    _undo(session, payment, held, ReversalState.WON, note="")
    _record(session, payment, AuditAction.PAYMENT_DISPUTE_WON, held)
    return "dispute_won"


def _fail(session: Session, payment: Payment, held: PaymentReversal | None) -> str:
    """Give the ZNC of a refund back whose money did not arrive, though its provider may have called it done before."""
    if held is None or held.kind is not ReversalKind.REFUND or held.state is ReversalState.REFUSED:
        return f"ignored: the refund is {ReversalState.REFUSED}"
    _undo(session, payment, held, ReversalState.REFUSED, note="It failed at the provider.")
    _record(session, payment, AuditAction.PAYMENT_REFUND_REFUSED, held)
    return "refund_failed"


def _undo(session: Session, payment: Payment, reversal: PaymentReversal, state: ReversalState, *, note: str) -> None:
    """Give the ZNC of a reversal back; a debt that it left is repaid by that first."""
    if reversal.amount_znc:
        ledger.transfer(
            session,
            TransferKind.REVERSAL,
            debit=ledger.system_account(session, AccountKind.PAYMENTS_RECEIVED),
            credit=ledger.wallet_of(session, payment.user_id),
            amount=reversal.amount_znc,
            description="Dispute won" if state is ReversalState.WON else "Refund refused by the provider",
            reference=("payment", payment.id),
            idempotency_key=f"reversal-undone:{reversal.id}",
            actor=PLATFORM,
        )
    if payment.status is PaymentStatus.REFUNDED:
        move(payment, PaymentStatus.SUCCEEDED)
    payment.returned_rub -= reversal.amount_rub
    payment.returned_znc -= reversal.amount_znc
    reversal.state, reversal.note, reversal.ended_at = state, note[:200], clock.now()
    session.flush()


def _znc_of(payment: Payment, amount_rub: Decimal) -> Decimal:
    """Return the ZNC that were bought with a part of a payment; the last part takes what is left."""
    left_rub, left_znc = payment.amount_rub - payment.returned_rub, payment.amount_znc - payment.returned_znc
    if amount_rub >= left_rub:
        return left_znc
    share = (amount_rub / payment.rub_per_znc).quantize(CENT, rounding=ROUND_HALF_UP)
    return min(max(share, CENT), left_znc)


def _take(  # noqa: PLR0917 - one line of the books
    session: Session, reversal: PaymentReversal, payment: Payment, debit: Account, amount: Decimal, key: str
) -> None:
    ledger.transfer(
        session,
        TransferKind.REVERSAL,
        debit=debit,
        credit=ledger.system_account(session, AccountKind.PAYMENTS_RECEIVED),
        amount=amount,
        description="Payment disputed" if reversal.kind is ReversalKind.DISPUTE else "Paid back to you",
        reference=("payment", payment.id),
        idempotency_key=key,
        actor=Actor(reversal.actor_id),
    )


def _record(session: Session, payment: Payment, action: AuditAction, reversal: PaymentReversal) -> None:
    facts = {"amount_rub": str(reversal.amount_rub), "amount_znc": str(reversal.amount_znc)}
    audit.record(session, action, PLATFORM, user_id=payment.user_id, resource=("payment", payment.id), **facts)
