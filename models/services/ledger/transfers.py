"""Ledger transfers: the only code that changes a balance."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.ledger import Account, AccountKind, Transfer, TransferKind, TransferPurpose
from models.services.actor import Actor
from models.services.errors import AccountClosed, DebtOpen, DuplicateTransfer, InsufficientFunds
from models.services.ledger import wallet_history
from models.services.ledger.money import require_amount
from models.services.notifications import outbox
from models.services.pagination import Page
from models.users import User

_NEVER_NEGATIVE = (AccountKind.WALLET, AccountKind.HELD)


def open_wallet(session: Session, user_id: uuid.UUID) -> Account:
    """Create an empty wallet for a new user."""
    wallet = Account(kind=AccountKind.WALLET, user_id=user_id)
    session.add(wallet)
    session.flush()
    return wallet


def wallet_of(session: Session, user_id: uuid.UUID) -> Account:
    """Return the user's wallet as it is in the database now, whatever this session read before."""
    query = select(Account).where(Account.user_id == user_id, Account.kind == AccountKind.WALLET)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def balances_of(session: Session, user_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Decimal]:
    """Return the wallet balances of several users."""
    query = select(Account.user_id, Account.balance).where(
        Account.user_id.in_(user_ids), Account.kind == AccountKind.WALLET
    )
    return {user_id: balance for user_id, balance in session.execute(query) if user_id is not None}


def personal_account(session: Session, user_id: uuid.UUID, kind: AccountKind) -> Account:
    """Return the user's account of a kind other than the wallet; create an empty one when there is none."""
    made = insert(Account).values(id=uuid.uuid4(), kind=kind, user_id=user_id, balance=Decimal(0))
    session.execute(
        made.on_conflict_do_nothing(index_elements=["user_id", "kind"], index_where=text("user_id IS NOT NULL"))
    )
    query = select(Account).where(Account.user_id == user_id, Account.kind == kind)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def locked_wallet(session: Session, user_id: uuid.UUID) -> Account:
    """Return the user's wallet with its row locked. A receivable changes only while its user's wallet is locked."""
    query = select(Account).where(Account.user_id == user_id, Account.kind == AccountKind.WALLET)
    return session.scalars(query.with_for_update(key_share=True).execution_options(populate_existing=True)).one()


def close_accounts(session: Session, user_id: uuid.UUID, moment: datetime) -> None:
    """Close a deleted user's accounts to further credits; the caller has locked the wallet."""
    theirs = (Account.user_id == user_id) & Account.kind.in_(_NEVER_NEGATIVE)
    session.execute(update(Account).where(theirs).values(closed_at=moment))


def debt_of(session: Session, user_id: uuid.UUID) -> Decimal:
    """Return a user's debt in ZNC: above zero after a chargeback that the wallet could not cover."""
    query = select(Account.balance).where(Account.user_id == user_id, Account.kind == AccountKind.RECEIVABLE)
    return -(session.scalar(query) or Decimal(0))


def system_account(session: Session, kind: AccountKind) -> Account:
    """Return the platform's own account of this kind; the first migration creates them all."""
    return session.scalars(select(Account).where(Account.kind == kind, Account.user_id.is_(None))).one()


def transfer(
    session: Session,
    kind: TransferKind,
    *,
    debit: Account,
    credit: Account,
    amount: Decimal,
    purpose: TransferPurpose | None,
    details: Mapping[str, str | int] | None = None,
    description: str = "",
    reference: tuple[str, uuid.UUID],
    idempotency_key: str,
    actor: Actor,
) -> uuid.UUID:
    """Move `amount` ZNC (above zero) from one account to another and return the transfer's id.

    `purpose` and `details` are codes and parameters of what it is for; an adjustment has an admin's `description`.

    A credit to a wallet repays its owner's debt first. Raises InvalidInput for an amount that cannot be booked,
    DuplicateTransfer when the key is booked already, InsufficientFunds when a wallet or a pending balance would fall
    below zero or a debt would be paid twice, DebtOpen for a purchase while a debt is open, AccountClosed for a credit
    to a deleted user. The caller then rolls back, and no balance has changed.

    Accounts stay locked until the commit, and the platform's own account is shared by all transfers: add other rows of
    the change to the session before the call; they are flushed here before that account is locked.
    """
    amount = require_amount(amount)
    reference_type, reference_id = reference
    # The users' accounts are locked first, so that created_at of transfers follows the order in which their wallet
    # changed: in another order a statement would show balances that never existed.
    _lock_personal(session, debit, credit)
    # Then the unique key is claimed. A second transfer with it waits for the first to commit or vanish.
    claim = (
        insert(Transfer)
        .values(
            id=uuid.uuid4(),
            kind=kind,
            debit_account_id=debit.id,
            credit_account_id=credit.id,
            amount=amount,
            purpose=purpose,
            details=dict(details or {}),
            description=description,
            reference_type=reference_type,
            reference_id=reference_id,
            idempotency_key=idempotency_key,
            actor_id=actor.user_id,
        )
        .on_conflict_do_nothing(index_elements=[Transfer.idempotency_key])
        .returning(Transfer.id)
    )
    transfer_id = session.scalar(claim)
    if transfer_id is None:
        raise DuplicateTransfer(idempotency_key)
    session.flush()
    # One lock order for all transfers prevents deadlocks: wallets first, then a user's other accounts, then the
    # platform's own, whose rows all transfers share and which are locked for the shortest time.
    moves = sorted(((debit, -amount), (credit, amount)), key=lambda move: _rank(move[0]))
    for account, change in moves:
        is_moved = _move(session, account, change)
        if kind is TransferKind.PURCHASE and account is debit:
            _refuse_debtors(session, debit, amount)
        if not is_moved:
            raise AccountClosed if change > 0 and account.kind in _NEVER_NEGATIVE else InsufficientFunds(-change)
        if kind is TransferKind.PURCHASE and account is debit:
            _notify_low_balance(session, debit, amount, because=transfer_id)
    if credit.kind is AccountKind.WALLET and credit.user_id is not None:
        _repay(session, credit, credit.user_id, amount, because=transfer_id, actor=actor)
    return transfer_id


def refuse_booked(session: Session, idempotency_key: str) -> None:
    """Raise DuplicateTransfer when the key is booked already."""
    if session.scalar(select(Transfer.id).where(Transfer.idempotency_key == idempotency_key)) is not None:
        raise DuplicateTransfer(idempotency_key)


def _lock_personal(session: Session, *accounts: Account) -> None:
    """Lock the accounts that belong to users, wallets first: the order in which balances change."""
    ids = [account.id for account in accounts if account.user_id is not None]
    query = select(Account.id).where(Account.id.in_(ids)).order_by(Account.kind != AccountKind.WALLET, Account.id)
    session.execute(query.with_for_update(key_share=True))


def _rank(account: Account) -> tuple[bool, bool, uuid.UUID]:
    return account.user_id is None, account.kind is not AccountKind.WALLET, account.id


def _refuse_debtors(session: Session, wallet: Account, amount: Decimal) -> None:
    """Raise DebtOpen for a buyer with a debt. Checked under the wallet's lock, as debts are booked."""
    if wallet.user_id is not None and (debt := debt_of(session, wallet.user_id)):
        raise DebtOpen(debt, amount)


def _repay(
    session: Session, wallet: Account, user_id: uuid.UUID, amount: Decimal, *, because: uuid.UUID, actor: Actor
) -> None:
    """Repay the owner's debt from what was just credited to a wallet, whose row is locked by that."""
    debt = debt_of(session, user_id)
    if debt:
        transfer(
            session,
            TransferKind.REVERSAL,
            debit=wallet,
            credit=personal_account(session, user_id, AccountKind.RECEIVABLE),
            amount=min(debt, amount),
            purpose=TransferPurpose.DEBT_REPAID,
            reference=("user", user_id),
            idempotency_key=f"repay:{because}",
            actor=actor,
        )


def _notify_low_balance(session: Session, wallet: Account, spent: Decimal, *, because: uuid.UUID) -> None:
    """E-mail the owner of a wallet whose balance has just fallen below their threshold."""
    user = session.get(User, wallet.user_id)
    if user is not None and wallet.balance < user.low_balance_znc <= wallet.balance + spent:
        facts = {"balance": f"{wallet.balance:.2f}", "threshold": f"{user.low_balance_znc:.2f}"}
        key = f"balance_low:{because}"
        outbox.enqueue_mail(session, "balance_low", user, dedup_key=key, username=user.username, **facts)


def _move(session: Session, account: Account, change: Decimal) -> bool:
    """Change a balance by a conditional update, which two concurrent debits cannot both pass; return whether it did."""
    statement = update(Account).where(Account.id == account.id).values(balance=Account.balance + change)
    if change < 0 and account.kind in _NEVER_NEGATIVE:
        statement = statement.where(Account.balance >= -change)
    elif change > 0 and account.kind in _NEVER_NEGATIVE:
        # A deletion closes the account under its row lock, so a concurrent credit is refused.
        statement = statement.where(Account.closed_at.is_(None))
    elif change > 0 and account.kind is AccountKind.RECEIVABLE:
        statement = statement.where(Account.balance <= -change)
    moved = session.execute(statement.returning(Account.balance).execution_options(synchronize_session=False))
    session.expire(account, ["balance"])
    return moved.one_or_none() is not None


def transactions(
    session: Session, wallet: Account, *, limit: int, offset: int, kind: TransferKind | None = None
) -> Page[Transfer]:
    """Return a page of the transfers that touched a wallet, newest first."""
    return wallet_history.page(session, wallet, kind=kind, limit=limit, offset=offset)


def signed_amount(entry: Transfer, wallet: Account) -> Decimal:
    """Return the transfer's amount as its wallet sees it: negative when the wallet paid."""
    return -entry.amount if entry.debit_account_id == wallet.id else entry.amount
