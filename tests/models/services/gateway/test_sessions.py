"""First use starts the clock once; one device holds a token; counts are added and never lost."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken, TokenState
from models.config.server import Sessions as Rules
from models.config.settings import Settings
from models.proxy_sessions import ProxySession
from models.services.accounts import roles
from models.services.actor import PLATFORM, Actor
from models.services.errors import DeviceConflict, NotFound, TokenUnusable
from models.services.gateway import sessions, token_lookup, usage_counts
from models.services.gateway.usage_counts import SessionCounts
from models.services.tokens import revocation
from models.users import User
from tests.conftest import Clock, some_id
from tests.factories import BROWSER, actions, buy

RULES = Rules()


@pytest.fixture
def token(session: Session, alice: User, settings: Settings, time: Clock) -> AccessToken:
    """A token of alice's that nobody has used yet."""
    return buy(session, alice, settings)


def begin(session: Session, token: AccessToken, device: str | None, rules: Rules = RULES) -> ProxySession:
    """Use the token from a device."""
    return sessions.start_session(session, token.id, device=device, rules=rules, actor=BROWSER)


def test_the_first_use_starts_the_clock_and_later_ones_do_not(
    session: Session, alice: User, token: AccessToken, time: Clock
) -> None:
    opened = begin(session, token, "laptop")
    started = time()
    assert token.activated_at == opened.started_at == started
    assert (opened.ip_address, opened.user_agent) == (BROWSER.ip_address, BROWSER.user_agent)
    version = token.version
    time.advance(minutes=10)
    assert begin(session, token, "laptop") is opened
    assert (token.activated_at, token.version) == (started, version)
    assert actions(session, alice)[-2:] == ["token.activated", "session.opened"]


def test_a_session_opened_without_a_device_belongs_to_the_first_device_seen(
    session: Session, token: AccessToken
) -> None:
    opened = begin(session, token, None)
    assert begin(session, token, None) is opened
    assert begin(session, token, "laptop") is opened
    assert opened.device_id == "laptop"
    for other in ("phone", None):
        with pytest.raises(DeviceConflict):
            begin(session, token, other)


def test_devices_do_not_matter_when_the_policy_is_off(session: Session, token: AccessToken) -> None:
    off = Rules(device_policy="off")
    opened = begin(session, token, "laptop", off)
    assert begin(session, token, "phone", off) is opened
    assert begin(session, token, None, off) is opened
    assert opened.device_id == "laptop"


@pytest.mark.parametrize("other", ["phone", None])
def test_another_device_takes_over_once_the_first_has_been_idle(
    session: Session, alice: User, token: AccessToken, time: Clock, other: str | None
) -> None:
    held = begin(session, token, "laptop")
    time.advance(seconds=RULES.device_idle_seconds - 1)
    with pytest.raises(DeviceConflict):
        begin(session, token, other)
    time.advance(seconds=1)
    taken = begin(session, token, other)
    assert taken is not held
    assert (held.ended_at, taken.ended_at, taken.device_id) == (time(), None, other)
    assert actions(session, alice)[-1] == "session.taken_over"


def test_activity_keeps_the_token_with_its_device(session: Session, token: AccessToken, time: Clock) -> None:
    held = begin(session, token, "laptop")
    time.advance(seconds=RULES.device_idle_seconds)
    usage_counts.add_counts(session, [SessionCounts(held.id, 1, 0, 0, time())])
    session.refresh(held)
    with pytest.raises(DeviceConflict):
        begin(session, token, "phone")


def test_after_a_release_another_device_is_admitted_at_once(session: Session, alice: User, token: AccessToken) -> None:
    held = begin(session, token, "laptop")
    assert sessions.release(session, alice, held.id, Actor(alice.id)).ended_at is not None
    assert begin(session, token, "phone").device_id == "phone"
    assert "session.released" in actions(session, alice)


def test_sessions_of_others_and_ended_sessions_cannot_be_released(
    session: Session, alice: User, bob: User, token: AccessToken
) -> None:
    held = begin(session, token, "laptop")
    for owner, session_id in ((bob, held.id), (alice, some_id())):
        with pytest.raises(NotFound):
            sessions.release(session, owner, session_id, PLATFORM)
    sessions.release(session, alice, held.id, PLATFORM)
    with pytest.raises(NotFound):
        sessions.release(session, alice, held.id, PLATFORM)


def test_an_ended_or_paused_token_cannot_be_used(
    session: Session, alice: User, token: AccessToken, settings: Settings, time: Clock
) -> None:
    begin(session, token, None)
    token.paused_at, token.pause_limit_seconds = time(), 86400
    with pytest.raises(TokenUnusable) as paused:
        begin(session, token, None)
    token.paused_at, token.pause_limit_seconds = None, 0
    time.advance(hours=24)
    with pytest.raises(TokenUnusable) as expired:
        begin(session, token, None)
    revoked_token = buy(session, alice, settings)
    revocation.revoke(session, alice, revoked_token.id, settings=settings, actor=PLATFORM)
    with pytest.raises(TokenUnusable) as revoked:
        begin(session, revoked_token, None)
    states = [caught.value.state for caught in (paused, expired, revoked)]
    assert states == [TokenState.PAUSED, TokenState.EXPIRED, TokenState.REVOKED]
    assert revoked_token.activated_at is None


def test_a_disabled_owners_token_is_not_used_and_its_clock_does_not_start(
    session: Session, alice: User, token: AccessToken
) -> None:
    roles.set_active(session, alice.id, active=False, actor=PLATFORM)
    with pytest.raises(TokenUnusable) as caught:
        begin(session, token, None)
    assert caught.value.state == "disabled"
    assert token.activated_at is None


def test_the_database_itself_holds_one_open_session_for_each_token(
    session: Session, token: AccessToken, time: Clock
) -> None:
    held = begin(session, token, "laptop")
    twin = ProxySession(user_id=held.user_id, token_id=held.token_id, ip_address="", started_at=time())
    twin.last_activity = time()
    session.add(twin)
    with pytest.raises(IntegrityError, match="uq_proxy_sessions_open"):
        session.flush()


def test_a_token_snapshot_has_everything_that_admission_needs(
    session: Session, alice: User, token: AccessToken, time: Clock
) -> None:
    fresh = token_lookup.find(session, token.secret_hash)
    assert fresh is not None
    assert (fresh.is_activated, fresh.expires_at, fresh.seconds_left, fresh.session_id) == (False, None, None, None)
    held = begin(session, token, "laptop")
    time.advance(hours=1)
    known = token_lookup.find(session, token.secret_hash)
    assert known is not None
    assert (known.token_id, known.user_id, known.session_id) == (token.id, alice.id, held.id)
    assert (known.device_id, known.is_activated, known.seconds_left) == ("laptop", True, 23 * 3600)
    assert known.expires_at == token.expires_at
    assert known.version == token.version > fresh.version
    assert token_lookup.find(session, b"\0" * 32) is None


def test_counts_of_many_sessions_are_added_in_one_statement(
    session: Session, connection: Connection, alice: User, settings: Settings, time: Clock
) -> None:
    held = [begin(session, buy(session, alice, settings, hours=1), None) for _ in range(20)]
    counts = [SessionCounts(entry.id, 2, 10 + n, 2**40, time() + timedelta(seconds=n)) for n, entry in enumerate(held)]
    session.flush()
    ran: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *arguments: ran.append(arguments[2]))
    for _ in range(2):
        usage_counts.add_counts(session, counts)
    assert len(ran) == 2
    for n, entry in enumerate(held):
        session.refresh(entry)
        assert (entry.request_count, entry.bytes_in, entry.bytes_out) == (4, 2 * (10 + n), 2**41)
        assert entry.bytes_transferred == 2 * (10 + n) + 2**41
        assert entry.last_activity == time() + timedelta(seconds=n)


def test_late_counts_reach_a_closed_session_and_never_turn_time_back(
    session: Session, alice: User, token: AccessToken, time: Clock
) -> None:
    held = begin(session, token, None)
    sessions.release(session, alice, held.id, PLATFORM)
    usage_counts.add_counts(session, [SessionCounts(held.id, 1, 5, 6, time() - timedelta(minutes=1))])
    session.refresh(held)
    assert (held.request_count, held.bytes_in, held.bytes_out) == (1, 5, 6)
    assert held.last_activity == time()


def test_counts_of_nothing_and_of_unknown_sessions_change_nothing(session: Session, time: Clock) -> None:
    usage_counts.add_counts(session, [])
    usage_counts.add_counts(session, [SessionCounts(some_id(), 1, 1, 1, time())])


def test_sessions_without_activity_are_closed(session: Session, token: AccessToken, time: Clock) -> None:
    held = begin(session, token, None)
    time.advance(seconds=RULES.close_idle_seconds)
    assert sessions.close_idle_sessions(session, RULES) == 0
    time.advance(seconds=1)
    assert [sessions.close_idle_sessions(session, RULES) for _ in range(2)] == [1, 0]
    session.refresh(held)
    assert held.ended_at == time()


def test_sessions_of_tokens_that_ended_are_closed_and_those_of_paused_ones_are_not(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    running, revoked, expired, paused = (buy(session, alice, settings, hours=h) for h in (24, 24, 1, 1))
    held = {entry.id: begin(session, entry, None) for entry in (running, revoked, expired, paused)}
    paused.paused_at, paused.pause_limit_seconds = time(), 86400
    revocation.revoke(session, alice, revoked.id, settings=settings, actor=PLATFORM)
    time.advance(hours=1)
    assert [sessions.close_sessions_of_ended_tokens(session) for _ in range(2)] == [2, 0]
    session.expire_all()
    assert {key for key, entry in held.items() if entry.ended_at} == {revoked.id, expired.id}


def test_lists_of_sessions_are_filtered_by_owner_token_and_openness(
    session: Session, alice: User, bob: User, settings: Settings, time: Clock
) -> None:
    mine, theirs = buy(session, alice, settings), buy(session, bob, settings)
    first = begin(session, mine, None)
    sessions.release(session, alice, first.id, PLATFORM)
    time.advance(seconds=1)
    second, other = begin(session, mine, None), begin(session, theirs, None)

    def ids(**which: object) -> list[object]:
        return [entry.id for entry in sessions.list_sessions(session, limit=10, offset=0, **which).items]  # type: ignore[arg-type]

    assert ids(user_id=alice.id) == [second.id, first.id]
    assert ids(token_id=theirs.id) == [other.id]
    assert set(ids(open_only=True)) == {second.id, other.id}
