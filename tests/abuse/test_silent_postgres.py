"""PostgreSQL that stops answering while its connections stay open.

docs/spec/invariants.md#12-revocation-within-a-second
docs/spec/invariants.md#22-restarts-of-redis-and-postgresql
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.tokens import revocation
from tests.abuse.statement_recorder import Recorder
from tests.abuse.tcp_relay import Relay
from tests.abuse.test_faults import wait_until
from tests.addon.conftest import Owned, sell
from tests.addon.processes import Proxy, free_port, proxy_environment


@dataclass
class Scene:
    """A worker whose connection to PostgreSQL can be held up; all others work."""

    settings: Settings
    factory: Sessions
    relay: Relay
    proxy: Proxy
    owned: Owned


@pytest.fixture
def scene(committed: tuple[Settings, Sessions], environment: dict[str, str]) -> Iterator[Scene]:
    settings, factory = committed
    relay, upstream, port = Relay(settings.database.url), Recorder(), free_port()
    variables = proxy_environment(settings, environment["REDIS_URL"], upstream.address, port)
    proxy = Proxy(port, {**variables, "DATABASE_URL": relay.url})
    proxy.start_worker()
    yield Scene(settings, factory, relay, proxy, sell(factory, settings, "buyer"))
    relay.go_on()
    proxy.stop()
    relay.close()
    upstream.close()


def ask_for(scene: Scene, proxy: Proxy, seconds: float) -> list[tuple[int, float]]:
    """Send requests repeatedly; return each status and duration."""
    answers = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        asked = time.monotonic()
        status = proxy.get("/", scene.owned.secret).status
        answers.append((status, time.monotonic() - asked))
        time.sleep(0.1)
    return answers


def is_known(scene: Scene, proxy: Proxy) -> None:
    """Cache the token in a worker; the invalidation by its activation empties the entry."""
    assert proxy.get("/", scene.owned.secret).status == 200
    time.sleep(0.5)
    assert proxy.get("/", scene.owned.secret).status == 200


def test_22_cached_tokens_still_work_while_postgresql_does_not_respond(scene: Scene) -> None:
    is_known(scene, scene.proxy)
    scene.relay.hold()
    answers = ask_for(scene, scene.proxy, 8)
    assert {status for status, _ in answers} == {200}
    assert max(seconds for _, seconds in answers) < 5
    # Once it is known to be silent, only who tries again for all waits for it.
    assert sum(seconds > 1 for _, seconds in answers) <= 3
    scene.relay.go_on()
    late = sell(scene.factory, scene.settings, "late")
    wait_until(lambda: scene.proxy.get("/", late.secret).status == 200, seconds=10)


def test_12_a_disconnected_worker_learns_of_a_change_from_sibling_workers(
    scene: Scene, environment: dict[str, str]
) -> None:
    hearing = scene.proxy.beside()
    hearing.environment["DATABASE_URL"] = scene.settings.database.url
    hearing.start_worker()
    try:
        is_known(scene, scene.proxy)
        scene.relay.hold()
        with scene.factory.begin() as session:
            revocation.revoke(session, scene.owned.user, scene.owned.token.id, settings=scene.settings, actor=PLATFORM)
        wait_until(lambda: scene.proxy.get("/", scene.owned.secret).status != 200, seconds=7)
        assert {status for status, _ in ask_for(scene, scene.proxy, 3)} == {503}
        scene.relay.go_on()
        wait_until(lambda: scene.proxy.get("/", scene.owned.secret).status == 401, seconds=5)
    finally:
        hearing.stop()
