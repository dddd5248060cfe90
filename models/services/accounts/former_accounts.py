"""Former accounts: recognise a user who deleted the account and registers again, so that debts and limits still apply.

Only a keyed hash of a deleted account's address is kept.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from models.config.settings import Settings
from models.ledger import Account, AccountKind, TransferKind, TransferPurpose
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.ledger import transfers
from models.users import User


def address_hash(email: str, settings: Settings) -> bytes:
    """Return the keyed hash of an address, ignoring case."""
    return secrets.hash_of(settings.tokens, email.strip().lower(), Purpose.ADDRESS)


def recognise(session: Session, user: User, settings: Settings) -> None:
    """Link an account with a confirmed address to the deleted account that had the same address."""
    if user.former_id is not None:
        return
    had_it = (User.address_hash == address_hash(user.email, settings)) & User.deleted_at.is_not(None)
    newest = select(User.id).where(had_it, User.id != user.id).order_by(User.deleted_at.desc()).limit(1)
    former_id = session.scalar(newest)
    if former_id is not None:
        user.former_id = former_id
        session.flush()
        carry_debt(session, user.id)


def lineage(user_id: uuid.UUID) -> Select[uuid.UUID]:
    """Select the ids of a user's account and of their former ones."""
    first = select(User.id, User.former_id).where(User.id == user_id).cte(recursive=True)
    before = aliased(User)
    chain = first.union(select(before.id, before.former_id).join(first, before.id == first.c.former_id))
    return select(chain.c.id)


def returned_as(session: Session, user_id: uuid.UUID) -> User | None:
    """Return the account, not deleted, with which the owner of a deleted one has registered again."""
    first = select(User.id).where(User.id == user_id).cte(recursive=True)
    after = aliased(User)
    chain = first.union(select(after.id).join(first, after.former_id == first.c.id))
    query = select(User).where(User.id.in_(select(chain.c.id)), User.id != user_id, User.deleted_at.is_(None))
    return session.scalars(query.order_by(User.created_at.desc()).limit(1)).one_or_none()


def due_to_carry(session: Session, *, limit: int = 500) -> Sequence[uuid.UUID]:
    """Return users whose former account is in debt: a chargeback may arrive after they registered again."""
    owes = (Account.kind == AccountKind.RECEIVABLE) & (Account.balance < 0)
    query = select(User.id).join(Account, Account.user_id == User.former_id).where(owes)
    return session.scalars(query.order_by(func.random()).limit(limit)).all()


def carry_debt(session: Session, user_id: uuid.UUID) -> bool:
    """Transfer a former account's debt to the user, repaid from the wallet if possible; return whether it did."""
    user = session.get_one(User, user_id)
    if user.former_id is None:
        return False
    # A receivable changes only while its user's wallet is locked; lock order: the older account first.
    transfers.locked_wallet(session, user.former_id)
    wallet = transfers.locked_wallet(session, user.id)
    debt = transfers.debt_of(session, user.former_id)
    if not debt:
        return False
    from_wallet = min(debt, wallet.balance)
    receivable = transfers.personal_account(session, user.id, AccountKind.RECEIVABLE)
    for debit, amount in ((wallet, from_wallet), (receivable, debt - from_wallet)):
        if amount:
            transfers.transfer(
                session,
                TransferKind.REVERSAL,
                debit=debit,
                credit=transfers.personal_account(session, user.former_id, AccountKind.RECEIVABLE),
                amount=amount,
                purpose=TransferPurpose.FORMER_ACCOUNT_DEBT,
                reference=("user", user.id),
                idempotency_key=f"former-debt:{uuid.uuid4()}",
                actor=PLATFORM,
            )
    return True
