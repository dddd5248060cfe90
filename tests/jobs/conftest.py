"""Fixtures for job tests: a committed database, a Redis, and the jobs' own context."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from jobs import context, queues
from models.config.settings import Settings
from models.database import Sessions
from models.users import User
from tests.factories import engine_of, person

Committed = tuple[Settings, Sessions]


@pytest.fixture
def process_environment(committed: Committed, environment: dict[str, str]) -> dict[str, str]:
    """Environment of a started process."""
    return {**environment, "DATABASE_URL": committed[0].database.url}


@pytest.fixture
def shop(
    committed: Committed, process_environment: dict[str, str], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Committed]:
    """Settings and sessions of the test; jobs read the same ones from the environment, as in their own process."""
    for name, value in process_environment.items():
        monkeypatch.setenv(name, value)
    cached = (context.settings_at_start, context.sessions, context.redis, queues.queue)
    for function in cached:
        function.cache_clear()
    yield committed
    engine_of(context.sessions()).dispose()
    for function in cached:
        function.cache_clear()


@pytest.fixture
def buyer(shop: Committed) -> User:
    """Alice with 100 ZNC, committed."""
    return person(shop[1], "alice", balance="100")


@pytest.fixture
def run(shop: Committed) -> Callable[[Callable[..., Any]], Any]:
    """Run and commit one service call."""

    def committed_call(call: Callable[..., Any]) -> Any:
        with shop[1].begin() as session:
            return call(session)

    return committed_call
