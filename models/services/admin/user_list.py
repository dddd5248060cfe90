"""Admin list of users: filter by name, state and balance, and sort."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session, aliased

from models.ledger import Account, AccountKind
from models.services.accounts import users
from models.services.pagination import ListQuery
from models.users import User

_wallet = aliased(Account, name="wallet")
_debt = aliased(Account, name="debt")


@dataclass(frozen=True, slots=True)
class UserBalances:
    """A user's balance and debt, in ZNC."""

    balance: Decimal = Decimal(0)
    debt: Decimal = Decimal(0)


def list_users(
    *, words: str = "", active: bool | None = None, admins: bool = False, money: str = "", sort: str = ""
) -> ListQuery[User]:
    """Return the list of users whose address or name contains `words`, filtered by state and balance.

    `money` is "balance", "debt" or empty; `sort` is "created", "email" or "balance", descending with a leading "-".
    """
    query = select(User)
    if words.strip():
        query = query.where(users.matches_text(words))
    if active is not None:
        query = query.where(User.is_active if active else ~User.is_active)
    if admins:
        query = query.where(User.is_superuser)
    if money == "debt":
        query = query.join(_debt, and_(_debt.user_id == User.id, _debt.kind == AccountKind.RECEIVABLE))
        query = query.where(_debt.balance < 0)
    if money == "balance" or sort.endswith("balance"):
        query = query.join(_wallet, and_(_wallet.user_id == User.id, _wallet.kind == AccountKind.WALLET))
    if money == "balance":
        query = query.where(_wallet.balance > 0)
    return ListQuery(query, _order(sort))


def balances_of(session: Session, user_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, UserBalances]:
    """Return the balances of some users."""
    kinds = (AccountKind.WALLET, AccountKind.RECEIVABLE)
    rows = session.execute(
        select(Account.user_id, Account.kind, Account.balance).where(
            Account.user_id.in_(user_ids), Account.kind.in_(kinds)
        )
    )
    found: dict[uuid.UUID, dict[AccountKind, Decimal]] = {user_id: {} for user_id in user_ids}
    for user_id, kind, balance in rows:
        if user_id is not None:
            found[user_id][kind] = balance
    return {
        user_id: UserBalances(have.get(AccountKind.WALLET, Decimal(0)), -have.get(AccountKind.RECEIVABLE, Decimal(0)))
        for user_id, have in found.items()
    }


def _order(sort: str) -> tuple[Any, ...]:
    """Return the order for a column name, descending with a leading "-"; newest first by default.

    Each is an index's order, read in one direction or the other; the tie-breaker is reversed with it.
    """
    orders = {
        "created": (User.created_at, User.id.desc()),
        "-email": (func.lower(User.email).desc(), User.id),
        "email": (func.lower(User.email), User.id),
        "balance": (_wallet.balance, _wallet.user_id),
        "-balance": (_wallet.balance.desc(), _wallet.user_id.desc()),
    }
    return orders.get(sort, (User.created_at.desc(), User.id))
