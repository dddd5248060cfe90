"""Receipts and monthly statements of a wallet. Months are those of the user's time zone."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Self

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from models import clock, time_zones
from models.ledger import Account, Transfer, TransferKind
from models.payments import Payment, PaymentReversal
from models.services.errors import InvalidInput, NotFound
from models.services.ledger import transfers, wallet_history
from models.services.ledger.wallet_history import Span
from models.services.pagination import MAX_LIMIT, Page
from models.users import User


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month, without a time zone."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime, zone: tzinfo = UTC) -> Self:
        """Return the month of a time in a zone."""
        day = time_zones.day_of(moment, zone)
        return cls(day.year, day.month)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2026-11`. Raises InvalidInput."""
        try:
            first = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        except ValueError:
            raise InvalidInput("month", "month_malformed") from None
        # The last month of year 9999 has no end that a datetime can hold.
        if str(cls.of(first)) != text or first.year not in range(2000, 9999):
            raise InvalidInput("month", "month_malformed")
        return cls.of(first)

    def span(self, zone: tzinfo) -> Span:
        """Return the start and end of the month in a zone."""
        return Span(*(time_zones.start_of(date(month.year, month.month, 1), zone) for month in (self, self.next)))

    @property
    def next(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Receipt for one ledger entry of a wallet; top-ups and their reversals have `payment` and `rubles`.

    `rubles` is the amount paid or returned as stored with the payment: amount times rate differs by rounding.
    """

    number: str
    entry: Transfer
    amount: Decimal
    payment: Payment | None
    rubles: Decimal | None
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
    """One line of a statement; `balance` is the wallet's balance after it."""

    entry: Transfer
    amount: Decimal
    balance: Decimal


def receipt(session: Session, owner: User, transfer_id: uuid.UUID) -> Receipt:
    """Return the receipt for an entry of the owner's wallet. Raises NotFound, also for another user's entry."""
    wallet = transfers.wallet_of(session, owner.id)
    entry = session.scalars(select(Transfer).where(Transfer.id == transfer_id, _touches(wallet))).one_or_none()
    if entry is None:
        raise NotFound("receipt")
    payment = session.get(Payment, entry.reference_id) if entry.reference_type == "payment" else None
    rubles = _rubles_of(session, entry, payment) if payment is not None else None
    return Receipt(number_of(entry), entry, transfers.signed_amount(entry, wallet), payment, rubles, owner)


def _rubles_of(session: Session, entry: Transfer, payment: Payment) -> Decimal | None:
    """Return the rubles of a deposit, or of the reversal whose id the transfer's idempotency key contains."""
    if entry.kind is TransferKind.DEPOSIT:
        return payment.amount_rub
    try:
        reversal_id = uuid.UUID(entry.idempotency_key.rpartition(":")[2])
    except ValueError:
        return None
    reversal = session.get(PaymentReversal, reversal_id)
    return reversal.amount_rub if reversal is not None and reversal.payment_id == payment.id else None


def number_of(entry: Transfer) -> str:
    """Return the receipt number of an entry: its day and the start of its id, so that it never changes."""
    return f"{entry.created_at.astimezone(UTC):%Y%m%d}-{entry.id.hex[:8].upper()}"


def statements(session: Session, owner: User, *, limit: int, offset: int) -> Page[Statement]:
    """Return a page of the months from a wallet's first entry until now, newest first.

    One query sums all months; the opening balance of a month is the closing balance of the one before.
    """
    wallet = transfers.wallet_of(session, owner.id)
    zone = time_zones.zone_of(owner.time_zone)
    moved = [Month.of(moment, zone) for moment in wallet_history.first_and_last(session, wallet) or ()]
    now = Month.of(clock.now(), zone)
    months, last = [min([*moved, now])], max([*moved, now])
    while months[-1] < last:
        months.append(months[-1].next)
    listed, balance = list[Statement](), Decimal(0)
    spans = [month.span(zone) for month in months]
    for month, sums in zip(months, wallet_history.sums(session, wallet, spans), strict=True):
        listed.append(Statement(month, balance, sums.received, sums.spent, sums.count))
        balance = listed[-1].closing
    limit, offset = min(max(limit, 1), MAX_LIMIT), max(offset, 0)
    return Page(listed[::-1][offset : offset + limit], len(listed), limit, offset)


def statement(session: Session, owner: User, month: Month) -> Statement:
    """Return the figures of a month; its closing balance is the next month's opening balance."""
    wallet = transfers.wallet_of(session, owner.id)
    span = _span(owner, month)
    before, inside = wallet_history.sums(session, wallet, [Span(end=span.start), span])
    return Statement(month, before.received - before.spent, inside.received, inside.spent, inside.count)


def page(session: Session, owner: User, month: Month, *, limit: int, offset: int) -> Page[Transfer]:
    """Return a page of a month's entries, oldest first."""
    wallet = transfers.wallet_of(session, owner.id)
    return wallet_history.page(session, wallet, span=_span(owner, month), oldest_first=True, limit=limit, offset=offset)


def lines(session: Session, owner: User, month: Month) -> Iterator[Line]:
    """Iterate over a month's entries, oldest first, a few hundred in memory at a time."""
    wallet = transfers.wallet_of(session, owner.id)
    balance = statement(session, owner, month).opening
    for entry in wallet_history.all_entries(session, wallet, _span(owner, month)):
        amount = transfers.signed_amount(entry, wallet)
        balance += amount
        yield Line(entry, amount, balance)


def _span(owner: User, month: Month) -> Span:
    return month.span(time_zones.zone_of(owner.time_zone))


def _touches(wallet: Account) -> ColumnElement[bool]:
    return or_(Transfer.debit_account_id == wallet.id, Transfer.credit_account_id == wallet.id)
