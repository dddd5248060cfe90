"""Usage is counted by day for tokens, owners and the platform, and the days add up to the sessions."""

import uuid
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Connection, event, func, select
from sqlalchemy.orm import Session

from models import time_zones
from models.config.settings import Settings
from models.proxy_sessions import ProxySession
from models.services.actor import PLATFORM
from models.services.gateway import sessions, usage_counts
from models.services.gateway.usage_counts import SessionCounts
from models.services.reports import overview, usage
from models.services.reports.usage import Period, Usage
from models.usage import TokenUsageDay, UsageDay
from models.users import User
from tests.conftest import Clock, some_id
from tests.factories import buy


@pytest.fixture
def thursday(time: Clock) -> Clock:
    """The evening of the last day of a year, a Thursday."""
    time.moment = datetime(2026, 12, 31, 23, 50, tzinfo=UTC)
    return time


def opened(session: Session, user: User, settings: Settings) -> ProxySession:
    """A session of a new token."""
    token = buy(session, user, settings, hours=1)
    return sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)


def count(session: Session, held: ProxySession, at: Clock, *figures: int) -> None:
    """Flush the counts of one worker."""
    usage_counts.add_counts(session, [SessionCounts(held.id, *(figures or (1, 10, 100)), at())])


def test_a_session_over_midnight_has_two_days_and_is_counted_once(
    session: Session, alice: User, settings: Settings, thursday: Clock
) -> None:
    held = opened(session, alice, settings)
    count(session, held, thursday)
    count(session, held, thursday, 0, 5, 7)
    thursday.advance(minutes=11)
    count(session, held, thursday, 2, 0, 1)
    days = usage.series(session, Period.DAY, token_id=held.token_id, shown=3)
    assert [entry.first for entry in days] == [date(2026, 12, 30), date(2026, 12, 31), date(2027, 1, 1)]
    assert [entry.usage for entry in days] == [Usage(), Usage(1, 15, 107, 1), Usage(2, 0, 1, 0)]
    assert usage.total(session, token_id=held.token_id) == Usage(3, 15, 108, 1)
    assert usage.total(session, token_id=held.token_id, last_days=1) == Usage(2, 0, 1, 0)
    assert usage.total(session, token_id=held.token_id).bytes_transferred == 123


def test_days_of_a_token_are_those_of_its_owners_time_zone(
    *, session: Session, alice: User, bob: User, settings: Settings, thursday: Clock
) -> None:
    # 31 December, 23:50 UTC: in Kathmandu it is 1 January, 05:35.
    alice.time_zone = "Asia/Kathmandu"
    zone = time_zones.zone_of(alice.time_zone)
    mine, theirs = opened(session, alice, settings), opened(session, bob, settings)
    for held in (mine, theirs):
        count(session, held, thursday)
    day = {"period": Period.DAY, "shown": 1}
    [today] = usage.series(session, **day, user_id=alice.id, zone=zone)
    assert (today.first, today.usage) == (date(2027, 1, 1), Usage(1, 10, 100, 1))
    assert usage.total(session, user_id=alice.id, last_days=1, zone=zone).requests == 1
    [month] = usage.series(session, Period.MONTH, token_id=mine.token_id, shown=1, zone=zone)
    assert (month.first, month.usage.requests) == (date(2027, 1, 1), 1)
    [of_bob] = usage.series(session, **day, user_id=bob.id)
    assert (of_bob.first, of_bob.usage.requests) == (date(2026, 12, 31), 1)
    assert overview.user_overview(session, alice.id).today.requests == 1
    # The platform's own days are UTC days.
    assert session.scalars(select(UsageDay.day)).all() == [date(2026, 12, 31)]
    # An unknown zone does not stop the counting.
    alice.time_zone = "Mars/Olympus_Mons"
    count(session, mine, thursday)
    assert usage.total(session, user_id=alice.id).requests == 2


def test_usage_is_that_of_a_token_of_its_owner_or_of_all(
    session: Session, alice: User, bob: User, settings: Settings, thursday: Clock
) -> None:
    first, second, theirs = (opened(session, user, settings) for user in (alice, alice, bob))
    for held in (first, second, theirs, theirs):
        count(session, held, thursday)
    assert usage.total(session, token_id=first.token_id).requests == 1
    assert usage.total(session, user_id=alice.id) == Usage(2, 20, 200, 2)
    assert usage.total(session) == Usage(4, 40, 400, 3)
    assert usage.total(session, user_id=alice.id, token_id=theirs.token_id) == Usage()
    assert usage.total(session, user_id=some_id()) == Usage()


def test_days_add_up_to_weeks_from_monday_and_to_months(
    session: Session, alice: User, settings: Settings, thursday: Clock
) -> None:
    held = opened(session, alice, settings)
    for _ in range(5):
        count(session, held, thursday)
        thursday.advance(days=1)
    thursday.advance(days=-1)
    weeks = usage.series(session, Period.WEEK, user_id=alice.id, shown=2)
    assert [(entry.first, entry.usage.requests) for entry in weeks] == [(date(2026, 12, 28), 4), (date(2027, 1, 4), 1)]
    months = usage.series(session, Period.MONTH)
    assert [entry.first for entry in months][:: len(months) - 1] == [date(2026, 2, 1), date(2027, 1, 1)]
    assert [entry.usage.requests for entry in months][-2:] == [1, 4]
    assert len(usage.series(session, Period.DAY)) == usage.SHOWN[Period.DAY]


def test_many_counts_are_one_statement_and_the_days_add_up_to_the_sessions(
    session: Session, connection: Connection, alice: User, settings: Settings, thursday: Clock
) -> None:
    held = [opened(session, alice, settings) for _ in range(10)]
    session.flush()
    ran: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *arguments: ran.append(arguments[2]))
    for _ in range(2):
        usage_counts.add_counts(
            session, [SessionCounts(entry.id, n, n * 2, n * 3, thursday()) for n, entry in enumerate(held)]
        )
        thursday.advance(hours=1)
    assert len(ran) == 2
    names = ("requests", "bytes_in", "bytes_out")
    wanted = session.execute(
        select(*(func.sum(getattr(ProxySession, name.replace("requests", "request_count"))) for name in names))
    ).one()
    for table in (TokenUsageDay, UsageDay):
        assert session.execute(select(*(func.sum(getattr(table, name)) for name in names))).one() == wanted
        # The session without traffic has not begun.
        assert session.scalar(select(func.sum(table.sessions))) == 9


def test_counts_of_an_unknown_session_make_no_day(session: Session, time: Clock) -> None:
    usage_counts.add_counts(session, [SessionCounts(uuid.uuid4(), 1, 1, 1, time())])
    assert session.scalars(select(TokenUsageDay)).all() == []
    assert usage.total(session) == Usage()
