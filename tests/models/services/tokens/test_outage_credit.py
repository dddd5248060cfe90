"""Outage credit: every lost minute is credited, and none twice."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken, TokenState
from models.audit import AuditAction
from models.config.settings import Settings
from models.database import Sessions
from models.outage_credits import OutageCredit
from models.outages import Outage
from models.services.actor import PLATFORM
from models.services.gateway import sessions
from models.services.tokens import history as token_history
from models.services.tokens import outage_credit, revocation
from models.services.tokens import pause as token_pause
from models.services.tokens import queries as token_queries
from models.users import User
from tests.conftest import Clock
from tests.factories import actions, buy, person, race

Begun = Callable[..., AccessToken]


@pytest.fixture
def begun(session: Session, alice: User, settings: Settings, time: Clock) -> Begun:
    """A running token of alice's."""

    def make(hours: int = 24) -> AccessToken:
        token = buy(session, alice, settings, hours=hours)
        sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
        session.flush()
        return token

    return make


def outage(session: Session, start: datetime, end: datetime | None = None) -> Outage:
    row = Outage(opened_at=start, last_failed_at=end or start, closed_at=end)
    session.add(row)
    session.flush()
    return row


def credit(session: Session, settings: Settings) -> int:
    """Run the job until it finds nothing; return the number of tokens processed."""
    looked_at = 0
    for outage_id in outage_credit.due(session):
        while found := outage_credit.credit(session, outage_id, settings, limit=2):
            looked_at += found
    session.expire_all()
    return looked_at


def test_a_running_token_is_credited_for_the_outage_and_its_history_shows_it(
    *, session: Session, begun: Begun, settings: Settings, time: Clock, alice: User
) -> None:
    token = begun()
    ends = token.expires_at
    assert ends is not None
    time.advance(hours=1)
    start = time()
    time.advance(minutes=30)
    held = outage(session, start, time())
    assert credit(session, settings) == 1
    assert token.credited_seconds == 1800
    assert token.expires_at == ends + timedelta(minutes=30)
    assert held.credited_at == time()
    line = token_history.of_token(session, token, limit=10, offset=0).items[0]
    assert (line.kind, line.at, line.until, line.seconds) == ("credited", start, time(), 1800)
    assert actions(session, alice)[-1] is AuditAction.TOKEN_CREDITED
    listed = outage_credit.list_credits(session, limit=10, offset=0).items[0]
    assert (listed, listed.credited_tokens, listed.credited_seconds) == (held, 1, 1800)


def test_the_same_minutes_are_never_credited_twice(
    session: Session, begun: Begun, settings: Settings, time: Clock
) -> None:
    token = begun()
    start = time()
    time.advance(minutes=30)
    outage(session, start, time())
    # A second record of the same time, with ten minutes of its own.
    outage(session, start + timedelta(minutes=10), time() + timedelta(minutes=10))
    time.advance(minutes=10)
    credit(session, settings)
    assert credit(session, settings) == 0
    assert token.credited_seconds == 40 * 60


def test_a_token_that_expired_during_the_outage_runs_on_after_it(
    session: Session, begun: Begun, settings: Settings, time: Clock
) -> None:
    token = begun(1)
    time.advance(minutes=50)
    start = time()
    time.advance(hours=2)
    assert token.state(time()) is TokenState.EXPIRED
    outage(session, start, time())
    credit(session, settings)
    assert token.state(time()) is TokenState.ACTIVE
    assert token.seconds_left(time()) == 600


def test_a_token_that_ended_before_or_was_activated_after_gets_nothing(
    session: Session, begun: Begun, settings: Settings, time: Clock
) -> None:
    early = begun(1)
    time.advance(hours=2)
    start = time()
    time.advance(minutes=30)
    outage(session, start, time())
    late = begun(1)
    credit(session, settings)
    assert (early.credited_seconds, late.credited_seconds) == (0, 0)


def test_a_token_activated_during_the_outage_gets_the_rest_of_it(
    session: Session, begun: Begun, settings: Settings, time: Clock
) -> None:
    start = time()
    time.advance(minutes=20)
    token = begun()
    time.advance(minutes=10)
    outage(session, start, time())
    credit(session, settings)
    assert token.credited_seconds == 600


def test_a_pause_is_not_credited(
    *, session: Session, begun: Begun, alice: User, settings: Settings, time: Clock
) -> None:
    paused, partly = begun(), begun()
    for token in (paused, partly):
        token_pause.pause(session, alice, token.id, settings=settings, actor=PLATFORM)
    start = time()
    time.advance(minutes=20)
    token_pause.resume(session, alice, partly.id, settings=settings, actor=PLATFORM)
    time.advance(minutes=40)
    outage(session, start, time())
    credit(session, settings)
    assert (paused.credited_seconds, partly.credited_seconds) == (0, 40 * 60)


def test_the_part_of_an_outage_after_a_pauses_limit_is_credited(
    *, session: Session, begun: Begun, alice: User, settings: Settings, time: Clock
) -> None:
    token = begun()
    token_pause.pause(session, alice, token.id, settings=settings, actor=PLATFORM)
    time.advance(days=settings.pause.in_all_days, minutes=-10)
    start = time()
    time.advance(minutes=30)
    outage(session, start, time())
    assert outage_credit.pending(session, token, time(), settings) == 20 * 60
    credit(session, settings)
    assert (token.credited_seconds, outage_credit.due(session)) == (20 * 60, [])


def test_an_outage_waits_for_the_one_before_it(committed: tuple[Settings, Sessions], time: Clock) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = buy(session, alice, settings, hours=1)
        sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    time.advance(minutes=40)
    for _ in range(2):
        start = time()
        time.advance(minutes=30)
        with factory.begin() as session:
            outage(session, start, time())
        time.advance(minutes=1)
    with factory.begin() as holder:
        token_queries.lock_owned(holder, alice, token.id)
        with factory.begin() as session:
            credit(session, settings)
    with factory.begin() as session:
        credit(session, settings)
        assert session.get_one(AccessToken, token.id).credited_seconds == 60 * 60
        assert outage_credit.due(session) == []


def test_short_outages_are_not_credited_and_long_ones_up_to_the_limit(
    session: Session, begun: Begun, settings: Settings, time: Clock
) -> None:
    token = begun(168)
    outage(session, time(), time() + timedelta(seconds=59))
    time.advance(minutes=5)
    credit(session, settings)
    assert (token.credited_seconds, outage_credit.due(session)) == (0, [])
    outage(session, time(), time() + timedelta(days=8))
    time.advance(days=8)
    credit(session, settings)
    assert token.credited_seconds == 168 * 3600


def test_an_open_outage_counts_in_the_refund_and_the_amount_stands_still(
    *, session: Session, begun: Begun, alice: User, settings: Settings, time: Clock
) -> None:
    token = begun()
    time.advance(hours=6)
    held = outage(session, time())
    before = revocation.refund_preview(session, token, settings)
    assert (before.amount, before.shrinks) == (13.5, True)
    time.advance(hours=6)
    held.last_failed_at = time()
    now = revocation.refund_preview(session, token, settings)
    assert (now.amount, now.used_seconds, now.shrinks) == (13.5, 6 * 3600, False)
    _, refund = revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert refund == 13.5
    held.closed_at = time()
    assert credit(session, settings) == 0


def test_an_outage_without_recent_probes_counts_until_the_last_failure_seen(
    session: Session, begun: Begun, settings: Settings, time: Clock
) -> None:
    token = begun()
    held = outage(session, time())
    time.advance(minutes=30)
    held.last_failed_at = time()
    session.flush()
    time.advance(hours=5)
    assert outage_credit.pending(session, token, time(), settings) == 1800


def test_two_jobs_at_once_credit_each_token_once(committed: tuple[Settings, Sessions], time: Clock) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        sold = [buy(session, alice, settings, hours=1) for _ in range(7)]
        for token in sold:
            sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    start = time()
    time.advance(minutes=10)
    with factory.begin() as session:
        outage_id = outage(session, start, time()).id

    def job() -> None:
        for _ in range(6):
            with factory.begin() as session:
                outage_credit.credit(session, outage_id, settings, limit=2)

    assert race(job, job, job) == [None, None, None]
    job()
    with factory.begin() as session:
        assert session.scalar(select(func.sum(AccessToken.credited_seconds))) == 7 * 600
        assert session.scalar(select(func.count()).select_from(OutageCredit)) == 7
        assert outage_credit.due(session) == []
