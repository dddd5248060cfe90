"""The outage record: two failed probes in a row open it, one good one closes it, and silence is no outage."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.outages import Outage
from models.services.gateway import outages
from models.services.gateway.outages import Period, UpstreamState, state_from_json
from models.users import User
from tests.conftest import Clock

GAP = timedelta(seconds=18)


class Probes:
    """Probes one after the other, as the prober reports them."""

    def __init__(self, session: Session, time: Clock) -> None:
        self._session = session
        self._time = time
        self._previous: datetime | None = None

    def fail(self) -> Outage | None:
        moment = self._time()
        previous, self._previous = self._previous, moment
        return outages.note_failure(self._session, previous_failed_at=previous, failed_at=moment, gap=GAP)

    def succeed(self) -> Outage | None:
        self._previous = None
        return outages.note_success(self._session, moment=self._time(), gap=GAP)


@pytest.fixture
def probes(session: Session, time: Clock) -> Probes:
    return Probes(session, time)


def record(session: Session) -> list[Outage]:
    return list(session.scalars(select(Outage).order_by(Outage.opened_at)))


def test_one_failed_probe_opens_no_outage(session: Session, probes: Probes, time: Clock) -> None:
    assert probes.fail() is None
    time.advance(seconds=5)
    assert probes.succeed() is None
    time.advance(seconds=5)
    assert probes.fail() is None
    assert record(session) == []


def test_two_failed_probes_in_a_row_open_an_outage_since_the_first(
    session: Session, probes: Probes, time: Clock
) -> None:
    began = time()
    probes.fail()
    time.advance(seconds=5)
    held = probes.fail()
    assert held is not None
    assert (held.opened_at, held.last_failed_at, held.closed_at) == (began, time(), None)
    time.advance(seconds=5)
    assert probes.fail() is held
    assert held.last_failed_at == time()
    assert outages.current_outage(session, GAP) is held


def test_one_successful_probe_closes_an_outage(session: Session, probes: Probes, time: Clock) -> None:
    began = time()
    probes.fail()
    time.advance(seconds=5)
    probes.fail()
    time.advance(seconds=5)
    closed = probes.succeed()
    assert closed is not None
    assert (closed.opened_at, closed.closed_at) == (began, time())
    assert outages.current_outage(session, GAP) is None
    for _ in range(2):
        time.advance(seconds=5)
        probes.fail()
    assert [outage.closed_at is None for outage in record(session)] == [False, True]


def test_time_without_probes_is_no_outage(session: Session, probes: Probes, time: Clock) -> None:
    began = time()
    probes.fail()
    time.advance(seconds=5)
    probes.fail()
    seen = time()
    time.advance(hours=3)
    assert outages.current_outage(session, GAP) is None
    assert outages.outages_between(session, began, time(), GAP) == [Period(began, seen)]
    closed = probes.succeed()
    assert closed is not None
    assert closed.closed_at == seen


def test_failures_before_a_long_gap_are_not_counted(session: Session, probes: Probes, time: Clock) -> None:
    probes.fail()
    time.advance(seconds=5)
    probes.fail()
    seen = time()
    time.advance(hours=1)
    assert probes.fail() is None
    [first] = record(session)
    assert first.closed_at == seen
    again = time()
    time.advance(seconds=5)
    second = probes.fail()
    assert second is not None
    assert second.opened_at == again


def test_another_prober_continues_an_open_outage(session: Session, time: Clock) -> None:
    first = Probes(session, time)
    first.fail()
    time.advance(seconds=5)
    held = first.fail()
    time.advance(seconds=7)
    assert Probes(session, time).fail() is held


def test_outages_are_clipped_to_the_requested_period(session: Session, probes: Probes, time: Clock) -> None:
    began = time()
    for _ in range(3):
        probes.fail()
        time.advance(seconds=10)
    probes.succeed()
    ended = time()
    time.advance(hours=1)
    second = timedelta(seconds=1)
    assert outages.outages_between(session, began - second, ended + second, GAP) == [Period(began, ended)]
    assert outages.outages_between(session, began + second, ended - second, GAP) == [
        Period(began + second, ended - second)
    ]
    assert outages.outages_between(session, ended, time(), GAP) == []
    assert outages.outages_between(session, began - 2 * second, began, GAP) == []


def test_an_outage_that_lasts_counts_until_now(session: Session, probes: Probes, time: Clock) -> None:
    began = time()
    probes.fail()
    time.advance(seconds=5)
    probes.fail()
    time.advance(seconds=4)
    assert outages.outages_between(session, began, time() + timedelta(hours=1), GAP) == [Period(began, time())]


def test_the_database_allows_one_open_outage_and_refuses_inconsistent_rows(session: Session, time: Clock) -> None:
    session.add(Outage(opened_at=time(), last_failed_at=time()))
    session.flush()
    second = timedelta(seconds=1)
    for wrong in (
        Outage(opened_at=time() + second, last_failed_at=time() + second),
        Outage(opened_at=time(), last_failed_at=time() - second, closed_at=time()),
        Outage(opened_at=time(), last_failed_at=time(), closed_at=time() - second),
    ):
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(wrong)
            session.flush()


def test_a_state_in_redis_is_read_back_only_for_its_own_upstream() -> None:
    state = UpstreamState("http://one.test", False, {"10.0.0.1:80": True})
    assert state_from_json(state.as_json(), "http://one.test") == state
    for text in (state.as_json().replace("one", "two"), None, "", "[]", "{", b"\xff", '{"upstream": 1}'):
        assert state_from_json(text, "http://one.test") is None


def test_a_new_installation_has_no_share_of_availability(session: Session, alice: User, time: Clock) -> None:
    """A share of a month that was watched for a minute would be made up: it needs a day."""
    alice.created_at = time()
    session.flush()
    time.advance(minutes=1)
    fresh = outages.load_availability(session, days=30, gap=GAP)
    assert (fresh.share, fresh.is_whole, fresh.since) == (None, False, alice.created_at)
    time.advance(days=2, minutes=-1)
    session.add(Outage(opened_at=time() - timedelta(hours=12), last_failed_at=time(), closed_at=time()))
    session.flush()
    assert outages.load_availability(session, days=30, gap=GAP).share == pytest.approx(0.75)
    time.advance(days=28)
    whole = outages.load_availability(session, days=30, gap=GAP)
    assert whole.is_whole
    assert whole.share == pytest.approx(1 - 12 / 720)


def test_without_any_account_there_is_no_availability(session: Session) -> None:
    record = outages.load_availability(session, days=30, gap=GAP)
    assert (record.share, record.since, record.is_whole) == (None, None, False)
