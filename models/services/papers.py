"""What a user keeps in his files: receipts and monthly statements of his wallet. Months are those of UTC."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import ColumnElement, case, func, or_, select, union_all
from sqlalchemy.orm import Session

from models import clock
from models.ledger import Account, Transfer
from models.payments import Payment
from models.services import ledger
from models.services.errors import InvalidInput, NotFound
from models.services.paging import MAX_LIMIT, Page, page_of
from models.users import User

AT_ONCE = 500


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """Return the month that a time is in."""
        inside = moment.astimezone(UTC)
        return cls(inside.year, inside.month)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2026-11`. Raises InvalidInput."""
        try:
            first = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        except ValueError:
            raise InvalidInput("month", "Write a month like 2026-11.") from None
        if str(cls.of(first)) != text or first.year < 2000:
            raise InvalidInput("month", "Write a month like 2026-11.")
        return cls.of(first)

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return self.next.start

    @property
    def next(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One movement of a wallet; `payment` is there for a top-up and for what went back of one."""

    number: str
    entry: Transfer
    amount: Decimal
    payment: Payment | None
    user: User


@dataclass(frozen=True, slots=True)
class Statement:
    """A month of a wallet: `opening` + `received` - `spent` = `closing`, in ZNC."""

    month: Month
    opening: Decimal
    received: Decimal
    spent: Decimal
    lines: int

    @property
    def closing(self) -> Decimal:
        return self.opening + self.received - self.spent


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a statement; `balance` is what the wallet held after it."""

    entry: Transfer
    amount: Decimal
    balance: Decimal


def receipt(session: Session, owner: User, transfer_id: uuid.UUID) -> Receipt:
    """Return the receipt for a movement of the owner's wallet. Raises NotFound for a stranger's."""
    wallet = ledger.wallet_of(session, owner.id)
    entry = session.scalars(select(Transfer).where(Transfer.id == transfer_id, _touches(wallet))).one_or_none()
    if entry is None:
        raise NotFound("receipt")
    payment = session.get(Payment, entry.reference_id) if entry.reference_type == "payment" else None
    return Receipt(number_of(entry), entry, ledger.signed_amount(entry, wallet), payment, owner)


def number_of(entry: Transfer) -> str:
    """Return the number of a movement's receipt: its day and the start of its id, so that it never changes."""
    return f"{entry.created_at.astimezone(UTC):%Y%m%d}-{entry.id.hex[:8].upper()}"


def statements(session: Session, owner: User, *, limit: int, offset: int) -> Page[Statement]:
    """Return a page of the months from a wallet's first movement until now, newest first.

    One query adds all of them up: what a month opens with is what those before it have left.
    """
    wallet = ledger.wallet_of(session, owner.id)
    start = func.date_trunc("month", func.timezone("UTC", Transfer.created_at))
    query = select(start, *_sums(wallet)).where(_touches(wallet)).group_by(start)
    moved = {Month(first.year, first.month): tuple(sums) for first, *sums in session.execute(query)}
    listed, balance = list[Statement](), Decimal(0)
    now = Month.of(clock.now())
    month, last = min([*moved, now]), max([*moved, now])
    while month <= last:
        received, spent, lines = moved.get(month, (Decimal(0), Decimal(0), 0))
        listed.append(Statement(month, balance, Decimal(received), Decimal(spent), lines))
        balance, month = listed[-1].closing, month.next
    limit, offset = min(max(limit, 1), MAX_LIMIT), max(offset, 0)
    return Page(listed[::-1][offset : offset + limit], len(listed), limit, offset)


def statement(session: Session, owner: User, month: Month) -> Statement:
    """Return the figures of a month. What one closes with, the next one opens with."""
    wallet = ledger.wallet_of(session, owner.id)
    before = select(func.coalesce(func.sum(_signed(wallet)), 0)).where(*_before(wallet, month.start))
    opening = session.scalar(before)
    received, spent, lines = session.execute(select(*_sums(wallet)).where(_inside(wallet, month))).one()
    return Statement(month, Decimal(opening or 0), Decimal(received), Decimal(spent), lines)


def page(session: Session, owner: User, month: Month, *, limit: int, offset: int) -> Page[Transfer]:
    """Return a page of a month's movements, oldest first."""
    wallet = ledger.wallet_of(session, owner.id)
    query = select(Transfer).where(_inside(wallet, month))
    return page_of(session, query, order=(Transfer.created_at, Transfer.id), limit=limit, offset=offset)


def lines(session: Session, owner: User, month: Month) -> Iterator[Line]:
    """Go through a month's movements, oldest first, a few hundred in memory at a time."""
    wallet = ledger.wallet_of(session, owner.id)
    balance = statement(session, owner, month).opening
    query = select(Transfer).where(_inside(wallet, month)).order_by(Transfer.created_at, Transfer.id)
    for entry in session.scalars(query.execution_options(yield_per=AT_ONCE)):
        amount = ledger.signed_amount(entry, wallet)
        balance += amount
        yield Line(entry, amount, balance)


def _touches(wallet: Account) -> ColumnElement[bool]:
    return or_(Transfer.debit_account_id == wallet.id, Transfer.credit_account_id == wallet.id)


def _signed(wallet: Account) -> ColumnElement[Decimal]:
    return case((Transfer.credit_account_id == wallet.id, Transfer.amount), else_=-Transfer.amount)


def _sums(wallet: Account) -> tuple[ColumnElement[Any], ...]:
    """What came in, what went out, and in how many movements."""
    signed = _signed(wallet)
    came, went = (func.sum(signed).filter(signed > 0), -func.sum(signed).filter(signed < 0))
    return func.coalesce(came, 0), func.coalesce(went, 0), func.count()


def _before(wallet: Account, moment: datetime) -> tuple[ColumnElement[bool], ...]:
    return _touches(wallet), Transfer.created_at < moment


def _inside(wallet: Account, month: Month) -> ColumnElement[bool]:
    """Say in SQL that a movement is one of a wallet's in a month.

    One query for each side, so that each is found by its account and time: with an OR, the database may read the
    month of all wallets.
    """
    when = (Transfer.created_at >= month.start, Transfer.created_at < month.end)
    sides = (Transfer.debit_account_id, Transfer.credit_account_id)
    return Transfer.id.in_(union_all(*(select(Transfer.id).where(side == wallet.id, *when) for side in sides)))
