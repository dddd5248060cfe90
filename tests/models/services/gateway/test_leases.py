"""Leases: one process at a time holds a task, directly and behind a pooler in transaction mode.

PgBouncer's feature matrix: session-level advisory locks do not work in transaction pooling.
"""

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest

from models import database
from models.config.settings import Settings
from models.database import Sessions
from models.services.gateway import leases
from tests.factories import race
from tests.pgbouncer import pgbouncer

MINUTE = timedelta(minutes=1)
ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture(params=["direct", "transaction"])
def factory(request: pytest.FixtureRequest, committed: tuple[Settings, Sessions]) -> Iterator[Sessions]:
    settings, direct = committed
    if request.param == "direct":
        yield direct
        return
    with pgbouncer(settings.database.url, "transaction", more={"default_pool_size": "2"}) as url:
        engine = database.connect(settings.database.model_copy(update={"url": url}))
        yield database.sessions(engine)
        engine.dispose()


def held(factory: Sessions, holder: uuid.UUID, duration: timedelta = MINUTE) -> bool:
    with factory.begin() as session:
        return leases.hold(session, "task", holder, duration)


def test_a_lease_has_one_holder_who_renews_it(factory: Sessions) -> None:
    assert held(factory, ONE)
    assert not held(factory, OTHER)
    assert held(factory, ONE)
    with factory.begin() as session:
        assert leases.hold(session, "another task", OTHER, MINUTE)


def test_an_expired_lease_can_be_taken_by_another_process(factory: Sessions) -> None:
    assert held(factory, ONE, timedelta(seconds=-1))
    assert held(factory, OTHER)
    assert not held(factory, ONE)


def test_only_its_holder_releases_a_lease(factory: Sessions) -> None:
    assert held(factory, ONE)
    with factory.begin() as session:
        leases.release(session, "task", OTHER)
    assert not held(factory, OTHER)
    with factory.begin() as session:
        leases.release(session, "task", ONE)
    assert held(factory, OTHER)


def test_of_two_concurrent_processes_one_gets_the_lease(factory: Sessions) -> None:
    for _ in range(5):
        assert sorted(race(lambda: held(factory, ONE), lambda: held(factory, OTHER))) == [False, True]
        with factory.begin() as session:
            leases.release(session, "task", ONE)
            leases.release(session, "task", OTHER)
