"""Receipts and statements: numbers that stay, months that chain, and nothing of a stranger's."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models import clock, time_zones
from models.config.settings import Settings
from models.database import Sessions
from models.ledger import Transfer
from models.services.actor import PLATFORM
from models.services.errors import InvalidInput, NotFound
from models.services.ledger import adjustments, statements, transfers
from models.services.ledger.statements import Month
from models.services.payments import reconciliation
from models.services.tokens import revocation
from models.users import User
from tests.conftest import Clock, make_user, some_id
from tests.factories import assert_sound, balance, buy, crossing, person
from tests.models.services.payments.test_reversals import paid, refund, said


def dated(session: Session, moment: datetime, which: Transfer) -> None:
    """Move a transfer to another day, as only a test may."""
    session.execute(text("ALTER TABLE transfers DISABLE TRIGGER transfers_append_only"))
    session.execute(text("UPDATE transfers SET created_at = :at WHERE id = :id"), {"at": moment, "id": which.id})
    session.execute(text("ALTER TABLE transfers ENABLE TRIGGER transfers_append_only"))
    session.expire_all()


@pytest.mark.parametrize("text_", ["2026-13", "2026-1", "26-01", "", "x", "1999-12", "2026-01-01", "\0", "-026-01"])
def test_a_malformed_month_is_refused(text_: str) -> None:
    with pytest.raises(InvalidInput):
        Month.parse(text_)


def test_months_follow_one_another_over_the_turn_of_the_year() -> None:
    december = Month.parse("2026-12")
    assert (str(december.next), december < december.next) == ("2027-01", True)
    assert december.span(UTC).end == december.next.span(UTC).start
    late = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert Month.of(late) == december


def test_a_top_ups_receipt_has_the_payment_and_other_users_do_not_find_it(
    session: Session, charlie: User, alice: User, settings: Settings
) -> None:
    payment = paid(session, charlie, settings)
    entry = session.scalars(select(Transfer).where(Transfer.reference_id == payment.id)).one()
    found = statements.receipt(session, charlie, entry.id)
    assert (found.amount, found.payment, found.user) == (50, payment, charlie)
    assert found.number == f"{entry.created_at.astimezone(UTC):%Y%m%d}-{entry.id.hex[:8].upper()}"
    with pytest.raises(NotFound):
        statements.receipt(session, alice, entry.id)
    with pytest.raises(NotFound):
        statements.receipt(session, charlie, some_id())


def test_the_opening_balance_is_the_closing_balance_of_the_month_before(
    session: Session, alice: User, settings: Settings
) -> None:
    first = session.scalars(select(Transfer)).one()
    dated(session, datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC), first)
    token = buy(session, alice, settings)
    revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    sold, back = session.scalars(
        select(Transfer).where(Transfer.reference_id == token.id).order_by(Transfer.kind)
    ).all()
    dated(session, datetime(2026, 9, 1, tzinfo=UTC), sold)
    dated(session, datetime(2026, 10, 1, tzinfo=UTC), back)
    listed = statements.statements(session, alice, limit=100, offset=0)
    assert str(listed.items[-1].month) == "2026-08"
    assert list(listed.items) == [statements.statement(session, alice, item.month) for item in listed.items]
    assert [item.month for item in statements.statements(session, alice, limit=1, offset=1).items] == [
        listed.items[1].month
    ]
    figures = {str(item.month): item for item in listed.items}
    september = figures["2026-09"]
    assert (september.opening, september.received, september.spent, september.closing) == (100, 0, 18, 82)
    assert (figures["2026-08"].closing, figures["2026-10"].opening, figures["2026-10"].closing) == (100, 82, 100)
    assert [(line.amount, line.balance) for line in statements.lines(session, alice, Month(2026, 9))] == [(-18, 82)]


def test_receipts_have_the_rubles_that_were_paid_and_refunded(
    session: Session, charlie: User, dana: User, settings: Settings
) -> None:
    # A paper shows the payment's own amounts. 4.51 ZNC at 10.25 cost 46.2275, which was charged as 46.23; what an admin
    # returns of it is an amount in rubles, whose ZNC are rounded.
    priced = settings.model_copy(
        update={"prices": settings.prices.model_copy(update={"rub_per_znc": Decimal("10.25")})}
    )
    payment = paid(session, charlie, priced, "4.51")
    returned = [refund(session, payment, dana, rub) for rub in ("10.00", "0.01")]
    said(session, payment, "disputed", "30.00", refund_id="d-1")
    said(session, payment, "dispute_won", "30.00", refund_id="d-1")
    assert [item.amount_rub for item in returned] == [Decimal("10.00"), Decimal("0.01")]
    entries = session.scalars(
        select(Transfer).where(Transfer.reference_id == payment.id).order_by(Transfer.created_at)
    ).all()
    rubles = [statements.receipt(session, charlie, entry.id).rubles for entry in entries]
    assert rubles == [Decimal(text_) for text_ in ("46.23", "10.00", "0.01", "30.00", "30.00")]
    token = buy(session, make_user(session, "rich", balance="100"), settings)
    sold = session.scalars(select(Transfer).where(Transfer.reference_id == token.id)).one()
    assert statements.receipt(session, token.user, sold.id).rubles is None


def test_a_statement_follows_the_order_of_booking_and_never_falls_below_zero(
    committed: tuple[Settings, Sessions],
) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="10")

    def spend(session: Session) -> None:
        buy(session, session.get_one(User, alice.id), settings)

    def credit(session: Session) -> None:
        adjustments.adjust(session, session.get_one(User, alice.id), amount=Decimal(8), reason="test", actor=PLATFORM)

    # The purchase is claimed first, and booked when the money for it has come.
    crossing(factory, spend, "INSERT INTO transfers", credit)
    with factory.begin() as session:
        owner = session.get_one(User, alice.id)
        lines = list(statements.lines(session, owner, Month.of(clock.now())))
        assert min(line.balance for line in lines) >= 0
        assert lines[-1].balance == balance(session, owner)
    assert_sound(factory)


def test_a_statements_month_is_that_of_its_owners_time_zone(session: Session, alice: User, settings: Settings) -> None:
    # Moscow is three hours ahead of UTC: its November begins on 31 October, 21:00 UTC.
    alice.time_zone = "Europe/Moscow"
    first = session.scalars(select(Transfer)).one()
    dated(session, datetime(2026, 10, 31, 20, 59, 59, tzinfo=UTC), first)
    token = buy(session, alice, settings)
    sold = session.scalars(select(Transfer).where(Transfer.reference_id == token.id)).one()
    dated(session, datetime(2026, 10, 31, 21, tzinfo=UTC), sold)
    months = {str(item.month): item for item in statements.statements(session, alice, limit=100, offset=0).items}
    assert (months["2026-10"].closing, months["2026-11"].spent) == (100, 18)
    assert statements.statement(session, alice, Month(2026, 11)).spent == 18
    assert [line.balance for line in statements.lines(session, alice, Month(2026, 11))] == [82]
    assert statements.page(session, alice, Month(2026, 10), limit=10, offset=0).total == 1
    # The number of a receipt never changes, whatever zone its owner chooses.
    assert statements.number_of(sold).startswith("20261031-")


@hypothesis_settings(
    max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(history=st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 120)), min_size=1, max_size=12))
def test_the_balances_of_months_are_continuous_and_end_with_the_wallets_balance(
    committed: tuple[Settings, Sessions], history: list[tuple[int, int]]
) -> None:
    _settings, factory = committed
    name = f"u{some_id().hex[:12]}"
    user = person(factory, name)
    start = datetime(2026, 7, 20, tzinfo=UTC)
    with factory.begin() as session:
        for number, (cents, _) in enumerate(history):
            sign = (
                -1 if number % 3 == 2 and transfers.wallet_of(session, user.id).balance >= Decimal(cents) / 100 else 1
            )
            amount = sign * Decimal(cents) / 100
            adjustments.adjust(session, user, amount=amount, reason="history", actor=PLATFORM)
        for entry, (_, day) in zip(
            session.scalars(select(Transfer).where(Transfer.reference_id == user.id)).all(), history, strict=True
        ):
            dated(session, start + timedelta(days=day), entry)
    with factory.begin() as session:
        months = [*statements.statements(session, user, limit=100, offset=0).items[::-1]]
        assert months[0].opening == 0
        for before, after in pairwise(months):
            assert before.closing == after.opening
        assert months[-1].closing == transfers.wallet_of(session, user.id).balance
        for month in months:
            lines = list(statements.lines(session, user, month.month))
            assert len(lines) == month.lines
            assert (lines[-1].balance if lines else month.opening) == month.closing


def test_reconciliation_finds_no_difference_after_payments_refunds_and_disputes(
    *, session: Session, charlie: User, dana: User, settings: Settings, time: Clock
) -> None:
    today = time().date()
    payment = paid(session, charlie, settings)
    other = paid(session, charlie, settings, "20")
    refund(session, payment, dana, "200")
    said(session, other, "disputed", "200", refund_id="d-1")
    said(session, other, "dispute_won", "200", refund_id="d-1")
    [row] = reconciliation.daily_totals(session, today, today)
    assert (row.day, row.provider, row.payments, row.paid_rub, row.paid_znc) == (today, "mock", 2, 700, 70)
    assert (row.booked_znc, row.returned_rub, row.returned_znc, row.unbooked_znc) == (70, 200, 20, 20)
    assert row.difference == 0
    assert reconciliation.daily_totals(session, today - timedelta(days=9), today - timedelta(days=1)) == []


def test_reconciliation_shows_the_difference_from_the_ledger(
    session: Session, charlie: User, settings: Settings, time: Clock
) -> None:
    payment = paid(session, charlie, settings)
    payment.amount_znc += 1
    session.flush()
    [row] = reconciliation.daily_totals(session, time().date(), time().date())
    assert row.difference == -1


def test_reconciliation_can_have_the_days_of_another_time_zone(
    *, session: Session, charlie: User, dana: User, settings: Settings
) -> None:
    # In Kathmandu a day begins at 18:15 UTC of the day before.
    zone = time_zones.zone_of("Asia/Kathmandu")
    before, after = paid(session, charlie, settings), paid(session, charlie, settings, "20")
    refund(session, before, dana, "200")
    before.settled_at = datetime(2026, 10, 31, 18, 14, 59, tzinfo=UTC)
    after.settled_at = datetime(2026, 10, 31, 18, 15, tzinfo=UTC)
    session.execute(text("UPDATE payment_reversals SET created_at = '2026-10-31 18:15:00+00'"))
    session.flush()
    first, second = reconciliation.daily_totals(session, date(2026, 10, 31), date(2026, 11, 1), zone)
    assert (first.day, first.paid_rub, first.booked_znc, first.returned_rub) == (date(2026, 10, 31), 500, 50, 0)
    assert (second.day, second.paid_rub, second.booked_znc, second.returned_rub) == (date(2026, 11, 1), 200, 20, 200)
    assert first.difference == second.difference == 0
    assert reconciliation.daily_totals(session, date(2026, 11, 2), date(2026, 11, 2), zone) == []
    [both] = reconciliation.daily_totals(session, date(2026, 10, 31), date(2026, 10, 31))
    assert (both.payments, both.paid_rub, both.returned_rub) == (2, 700, 200)


def test_a_day_counts_what_was_booked_before_and_after_its_payments_were_settled(
    session: Session, charlie: User, settings: Settings, time: Clock
) -> None:
    payment, day = paid(session, charlie, settings), time().date()
    settled_at = payment.settled_at
    assert settled_at is not None
    later = timedelta(days=2)
    payment.settled_at = settled_at + later
    session.flush()
    assert reconciliation.daily_totals(session, day, day) == []
    [row] = reconciliation.daily_totals(session, day + later, day + later)
    assert (row.payments, row.paid_znc, row.booked_znc, row.difference) == (1, 50, 50, 0)
    session.execute(text("UPDATE payments SET status = 'pending', settled_at = NULL"))
    assert reconciliation.daily_totals(session, day, day + later) == []
    session.execute(text("UPDATE payments SET status = 'succeeded', settled_at = :at"), {"at": settled_at})
    [row] = reconciliation.daily_totals(session, day, day + later)
    assert (row.day, row.payments, row.paid_znc, row.booked_znc, row.difference) == (day, 1, 50, 50, 0)


@pytest.mark.parametrize("days", [-1, 366])
def test_an_invalid_range_is_refused(session: Session, days: int) -> None:
    first = date(2026, 1, 1)
    with pytest.raises(InvalidInput):
        reconciliation.daily_totals(session, first, first + timedelta(days=days))
