"""Balance adjustments by admins: always a transfer with a reason."""

import uuid
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.ledger import AccountKind, TransferKind
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import InvalidInput, NotFound
from models.services.ledger import transfers
from models.users import User


def set_balance(session: Session, user: User, *, target: Decimal, reason: str, actor: Actor) -> Decimal:
    """Make the user's wallet hold `target` ZNC: what it lacks or has too much at this instant is booked.

    The wallet's row is locked, so that no purchase comes between looking and booking. Raises as `adjust` does, and
    InvalidInput for a user in debt: a credit repays the debt first, so that the wallet would not hold the target.
    """
    _refuse_deleted(session, user)
    difference = target - transfers.locked_wallet(session, user.id).balance
    debt = transfers.debt_of(session, user.id)
    if difference > 0 and debt:
        raise InvalidInput("amount", "user_in_debt", debt=debt)
    return adjust(session, user, amount=difference, reason=reason, actor=actor) if difference else target


def adjust(
    session: Session, user: User, *, amount: Decimal, reason: str, actor: Actor, key: uuid.UUID | None = None
) -> Decimal:
    """Add `amount` ZNC (negative takes away) to the user's wallet and return the new balance.

    `key` names one intention: a form sent twice raises DuplicateTransfer. Raises InvalidInput for an amount that
    cannot be booked or a bad reason, InsufficientFunds when the wallet would fall below zero, NotFound for a deleted
    account.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=3, at_most=200)
    if not amount.is_finite():
        raise InvalidInput("amount", "number_malformed")
    _refuse_deleted(session, user)
    wallet = transfers.wallet_of(session, user.id)
    pool = transfers.system_account(session, AccountKind.ADJUSTMENTS)
    key = key or uuid.uuid4()
    audit_log.record(
        session,
        AuditAction.BALANCE_ADJUSTED,
        actor,
        user_id=user.id,
        resource=("user", user.id),
        amount=str(amount),
        reason=reason,
    )
    transfers.transfer(
        session,
        TransferKind.ADJUSTMENT,
        debit=pool if amount > 0 else wallet,
        credit=wallet if amount > 0 else pool,
        amount=abs(amount),
        purpose=None,
        description=reason,
        reference=("user", user.id),
        idempotency_key=f"adjustment:{key}",
        actor=actor,
    )
    return wallet.balance


def _refuse_deleted(session: Session, user: User) -> None:
    """Raise NotFound for a deleted account, and keep the account from being deleted meanwhile by a shared lock.

    Taken before the wallet's row, as in the deletion (accounts/deletion.py): two orders would be a deadlock.
    """
    if session.scalar(select(User.deleted_at).where(User.id == user.id).with_for_update(read=True)) is not None:
        raise NotFound("user")
