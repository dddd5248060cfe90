"""Cache invalidation: workers are notified of a change at its commit, and only then."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.database import Sessions
from models.services.accounts import roles
from models.services.actor import PLATFORM
from models.services.gateway import invalidation, sessions
from models.services.tokens import revocation
from models.users import User
from tests.conftest import make_user
from tests.factories import buy

Committed = tuple[Settings, Sessions]


class Listener:
    """A connection that listens, as every worker's does."""

    def __init__(self, settings: Settings) -> None:
        url = make_url(settings.database.url)
        self._connection = psycopg2.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
        self._connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        self._connection.cursor().execute(f"LISTEN {invalidation.CHANNEL}")

    def received(self) -> list[dict[str, Any]]:
        """Return the messages since the last call; the empty query makes the server deliver them."""
        self._connection.cursor().execute("SELECT 1")
        self._connection.poll()
        notices, self._connection.notifies = list(self._connection.notifies), []
        return [json.loads(notice.payload) for notice in notices]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@pytest.fixture
def shop(committed: Committed) -> tuple[Settings, Sessions, User, AccessToken]:
    """Alice and an unused token of hers, committed."""
    settings, factory = committed
    with factory.begin() as session:
        alice = make_user(session, "alice", balance="100")
        make_user(session, "dana", is_superuser=True)
        return settings, factory, alice, buy(session, alice, settings)


@pytest.fixture
def listener(shop: tuple[Settings, Sessions, User, AccessToken]) -> Iterator[Listener]:
    listener = Listener(shop[0])
    yield listener
    listener.close()


def act(session: Session, settings: Settings, alice: User, token: AccessToken, what: str) -> None:
    """Make one of the changes that workers are notified of."""
    rules = settings.sessions
    match what:
        case "revoke":
            revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
        case "disable":
            roles.set_active(session, alice.id, active=False, actor=PLATFORM)
        case "first use":
            sessions.start_session(session, token.id, device=None, rules=rules, actor=PLATFORM)
        case "claim":
            sessions.start_session(session, token.id, device="laptop", rules=rules, actor=PLATFORM)
        case "release":
            held = sessions.list_sessions(session, limit=1, offset=0, open_only=True).items[0]
            sessions.release(session, alice, held.id, PLATFORM)
        case "close idle":
            sessions.close_idle_sessions(session, rules.model_copy(update={"close_idle_seconds": -1}))


@pytest.mark.parametrize("what", ["revoke", "disable", "first use", "claim", "release", "close idle"])
def test_workers_are_notified_of_a_change_after_its_commit_and_never_of_one_rolled_back(
    shop: tuple[Settings, Sessions, User, AccessToken], listener: Listener, what: str
) -> None:
    settings, factory, alice, token = shop
    if what in {"claim", "release", "close idle"}:
        with factory.begin() as session:
            act(session, settings, alice, token, "first use")
        listener.received()
    session = factory()
    act(session, settings, alice, token, what)
    assert listener.received() == []
    session.rollback()
    assert listener.received() == []
    act(session, settings, alice, token, what)
    session.commit()
    session.close()
    [notice] = listener.received()
    with factory() as session:
        fresh = session.get_one(AccessToken, token.id)
    assert notice == {"token": str(token.id), "hashes": [fresh.secret_hash.hex()], "version": fresh.version}


@pytest.mark.parametrize("what", ["revoke", "disable", "first use"])
def test_a_change_raises_the_tokens_version(shop: tuple[Settings, Sessions, User, AccessToken], what: str) -> None:
    settings, factory, alice, token = shop
    with factory.begin() as session:
        act(session, settings, alice, token, what)
    with factory.begin() as session:
        assert session.get_one(AccessToken, token.id).version == token.version + 1


def test_a_purchase_and_a_second_request_of_the_same_device_are_not_announced(
    shop: tuple[Settings, Sessions, User, AccessToken], listener: Listener
) -> None:
    settings, factory, alice, token = shop
    with factory.begin() as session:
        buy(session, alice, settings)
    assert listener.received() == []
    for _ in range(2):
        with factory.begin() as session:
            act(session, settings, alice, token, "claim")
    assert len(listener.received()) == 1
