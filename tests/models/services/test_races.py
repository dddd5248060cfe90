"""Races: of two concurrent changes, the database lets one win and the other gets a clear error."""

import functools
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.database import Sessions
from models.proxy_sessions import ProxySession
from models.services.accounts import roles, users
from models.services.actor import PLATFORM
from models.services.errors import AccountDisabled, DeviceConflict, EmailTaken, LastSuperuser, NotFound, UsernameTaken
from models.services.gateway import sessions, usage_counts
from models.services.gateway.usage_counts import SessionCounts
from models.services.reports import usage
from models.services.reports.usage import Usage
from models.services.tokens import bundles, revocation
from models.users import User
from tests.conftest import make_user
from tests.factories import buy, crossing, person, race, some_bundle

Committed = tuple[Settings, Sessions]
ROUNDS = 10
CROWD = (
    "INSERT INTO proxy_sessions (id, user_id, token_id, ip_address, user_agent, started_at, last_activity, ended_at,"
    " request_count, bytes_in, bytes_out) SELECT gen_random_uuid(), :user, :token, '', '', now(), now(), now(), 30, 60,"
    " 90 FROM generate_series(1, 10000); ANALYZE proxy_sessions"
)


def in_transaction(factory: Sessions, call: Callable[..., Any], *arguments: Any, **named: Any) -> Callable[[], Any]:
    """Return a call that runs a service in a transaction of its own."""

    def run() -> Any:
        with factory.begin() as session:
            return call(session, *arguments, **named)

    return run


@pytest.mark.parametrize("devices", [("laptop", "phone"), ("laptop", None)])
def test_two_devices_on_a_fresh_token_one_wins_and_one_session_exists(
    committed: Committed, devices: tuple[str, str | None]
) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    for _ in range(ROUNDS):
        with factory.begin() as session:
            token = buy(session, alice, settings, hours=1)
        rules = settings.sessions
        calls = [
            in_transaction(factory, sessions.start_session, token.id, device=device, rules=rules, actor=PLATFORM)
            for device in devices
        ]
        results = race(*calls)
        won = [result for result in results if isinstance(result, ProxySession)]
        with factory.begin() as session:
            held = session.scalars(select(ProxySession).where(ProxySession.token_id == token.id)).all()
        if None in devices and len(won) == 2:
            # The session without a device came first and was claimed.
            assert held[0].device_id == "laptop"
        else:
            assert len(won) == 1
            assert any(isinstance(result, DeviceConflict) for result in results)
        assert len(held) == 1


def test_two_registrations_with_one_address_or_name_make_one_user(committed: Committed) -> None:
    _settings, factory = committed

    def register(email: str, username: str) -> Callable[[], Any]:
        facts = {"email": email, "username": username, "password": "long enough", "actor": PLATFORM}
        return in_transaction(factory, users.register, **facts)

    for number in range(ROUNDS):
        results = race(
            register(f"a{number}@example.test", f"one{number}"), register(f"A{number}@example.test", f"two{number}")
        )
        assert {type(result) for result in results} == {User, EmailTaken}
        results = race(
            register(f"b{number}@example.test", f"same{number}"), register(f"c{number}@example.test", f"SAME{number}")
        )
        assert {type(result) for result in results} == {User, UsernameTaken}


def test_two_admins_who_disable_each_other_leave_one(committed: Committed) -> None:
    _settings, factory = committed
    with factory.begin() as session:
        dana, erin = (make_user(session, name, is_superuser=True) for name in ("dana", "erin"))
    for _ in range(ROUNDS):
        results = race(
            *(
                in_transaction(factory, roles.set_active, admin.id, active=False, actor=PLATFORM)
                for admin in (dana, erin)
            )
        )
        assert sum(isinstance(result, LastSuperuser) for result in results) == 1
        with factory.begin() as session:
            assert session.scalar(select(func.count()).where(User.is_superuser, User.is_active)) == 1
            for admin in (dana, erin):
                roles.set_active(session, admin.id, active=True, actor=PLATFORM)


def test_workers_that_share_sessions_add_their_counts_without_a_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="200")
    with factory.begin() as session:
        token_ids = [buy(session, alice, settings, hours=1).id for _ in range(100)]
    with factory.begin() as session:
        rules = settings.sessions
        # A table large enough that rows are found by index, in the requested order.
        session.execute(text(CROWD), {"user": alice.id, "token": token_ids[0]})
        held = [
            sessions.start_session(session, token_id, device=None, rules=rules, actor=PLATFORM).id
            for token_id in token_ids
        ]

    def worker(order: list[uuid.UUID]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(ROUNDS):
                with factory.begin() as session:
                    usage_counts.add_counts(session, [SessionCounts(entry, 1, 2, 3, clock.now()) for entry in order])

        return run

    shuffled = sorted(held)
    assert race(worker(held), worker(held[::-1]), worker(shuffled)) == [None, None, None]
    with factory.begin() as session:
        written = select(ProxySession.request_count, ProxySession.bytes_in, ProxySession.bytes_out).distinct()
        assert session.execute(written).all() == [(30, 60, 90)]
        assert usage.total(session, user_id=alice.id) == usage.total(session) == Usage(3000, 6000, 9000, 100)


def test_disabling_a_user_during_a_revocation_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    with factory.begin() as session:
        make_user(session, "dana", is_superuser=True)
        alice = make_user(session, "alice", balance="100", is_superuser=True)
    for _ in range(ROUNDS):
        with factory.begin() as session:
            roles.set_active(session, alice.id, active=True, actor=PLATFORM)
            token = buy(session, alice, settings, hours=1)
        results = race(
            in_transaction(factory, roles.set_active, alice.id, active=False, actor=PLATFORM),
            in_transaction(factory, revocation.revoke, alice, token.id, settings=settings, actor=PLATFORM),
        )
        assert [result for result in results if isinstance(result, Exception)] == []
        with factory.begin() as session:
            assert session.get_one(AccessToken, token.id).revoked_at is not None


def test_using_releasing_and_closing_a_session_concurrently_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    at_once = settings.sessions.model_copy(update={"close_idle_seconds": -1})
    facts: dict[str, Any] = {"device": "laptop", "rules": settings.sessions, "actor": PLATFORM}
    for _ in range(ROUNDS):
        with factory.begin() as session:
            token = buy(session, alice, settings, hours=1)
            held = sessions.start_session(session, token.id, **facts)
        results = race(
            in_transaction(factory, sessions.start_session, token.id, **facts),
            in_transaction(factory, sessions.release, alice, held.id, PLATFORM),
            in_transaction(factory, sessions.close_idle_sessions, at_once),
        )
        assert all(isinstance(result, ProxySession | NotFound | int) for result in results), results
        assert not isinstance(results[0], NotFound)
        with factory.begin() as session:
            still_open = (ProxySession.token_id == token.id) & ProxySession.ended_at.is_(None)
            assert session.scalar(select(func.count()).where(still_open)) in {0, 1}


@pytest.mark.parametrize("what", ["token", "bundle"])
def test_a_user_who_is_disabled_concurrently_buys_no_token_that_is_not_invalidated(
    committed: Committed, what: str
) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        bundle_id = some_bundle(session).id
    facts: dict[str, Any] = {"settings": settings, "actor": PLATFORM}

    def purchase(session: Session) -> None:
        if what == "token":
            buy(session, alice, settings, hours=1)
        else:
            bundles.purchase(session, alice, bundle_id, purchase_id=uuid.uuid4(), **facts)

    disable = functools.partial(roles.set_active, user_id=alice.id, active=False, actor=PLATFORM)
    # Up to the invalidation of the tokens: what it does not see must not be sold any more.
    results = crossing(factory, disable, "UPDATE access_tokens", purchase)
    assert isinstance(results[1], AccountDisabled), results
    with factory.begin() as session:
        assert session.scalar(select(func.count()).select_from(AccessToken)) == 0


def test_counting_sessions_that_are_closed_concurrently_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="200")
    with factory.begin() as session:
        token_ids = [buy(session, alice, settings, hours=1).id for _ in range(50)]
        held = [
            sessions.start_session(session, token_id, device=None, rules=settings.sessions, actor=PLATFORM).id
            for token_id in token_ids
        ]
    at_once = settings.sessions.model_copy(update={"close_idle_seconds": -1})

    def worker() -> None:
        for _ in range(ROUNDS):
            with factory.begin() as session:
                usage_counts.add_counts(session, [SessionCounts(entry, 1, 2, 3, clock.now()) for entry in held])

    def closer() -> None:
        for _ in range(ROUNDS):
            with factory.begin() as session:
                sessions.close_idle_sessions(session, at_once)
            with factory.begin() as session:
                session.scalars(select(ProxySession.id).order_by(ProxySession.id).with_for_update()).all()
                session.execute(text("UPDATE proxy_sessions SET ended_at = NULL"))

    for _ in range(3):
        assert race(worker, closer, worker) == [None, None, None]
