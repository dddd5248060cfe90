"""Invalidation behind a real PgBouncer, in each of its pool modes.

docs/spec/invariants.md#33-proven-invalidation

With a real PgBouncer, in the modes in which it is run. Its feature matrix: LISTEN does not work in transaction pooling.
"""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import func, select

from addon.token_cache.invalidation_listener import InvalidationListener
from addon.token_cache.memory_tier import MemoryTier
from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.gateway import invalidation
from models.services.tokens import revocation
from tests.abuse.test_faults import wait_until
from tests.addon.conftest import Owned, sell
from tests.addon.processes import ROOT, Proxy, free_port, proxy_environment, start_upstream
from tests.pgbouncer import pgbouncer

LOOKS = 20


@dataclass
class Heard:
    """A listener on its own event loop, and what it received."""

    known: MemoryTier
    settings_changed: int = 0

    def is_trusted(self) -> bool:
        return time.monotonic() < self.known.leased_until


def listen(settings: Settings, call: Callable[[Heard], None]) -> Heard:
    """Run a listener; `call` runs in a thread beside it."""

    async def main() -> Heard:
        heard = Heard(MemoryTier(10))

        def count() -> None:
            heard.settings_changed += 1

        listener = InvalidationListener(
            settings,
            heard.known,
            asyncio.get_running_loop(),
            on_change=lambda _change: None,
            on_reconnect=lambda: None,
            on_settings=count,
            on_inspections=lambda: None,
        )
        listener.start()
        try:
            await asyncio.to_thread(call, heard)
        finally:
            await asyncio.to_thread(listener.stop)
        return heard

    return asyncio.run(main())


def notify(factory: Sessions) -> None:
    with factory.begin() as session:
        session.execute(select(func.pg_notify(invalidation.CHANNEL, json.dumps({"settings": True}))))


def through(settings: Settings, url: str, listen_url: str = "") -> Settings:
    """Return settings with another database address."""
    changed = settings.database.model_copy(update={"url": url, "listen_url": listen_url})
    return settings.model_copy(update={"database": changed})


# With one connection to the server, LISTEN, its question and its own notifications all meet on the same one.
@pytest.mark.parametrize("size", ["1", "20"])
def test_33_behind_a_transaction_pooler_the_cache_is_never_trusted(
    committed: tuple[Settings, Sessions], size: str
) -> None:
    settings, factory = committed

    def look(heard: Heard) -> None:
        for _ in range(LOOKS):
            notify(factory)
            time.sleep(0.1)
            assert not heard.is_trusted()

    with pgbouncer(settings.database.url, "transaction", more={"default_pool_size": size}) as url:
        listen(through(settings, url), look)


@pytest.mark.parametrize("way", ["direct", "session", "listen_url"])
def test_33_every_notification_is_received_where_the_cache_is_trusted(
    committed: tuple[Settings, Sessions], way: str
) -> None:
    settings, factory = committed

    def look(heard: Heard) -> None:
        wait_until(heard.is_trusted, seconds=5)
        for number in range(LOOKS):
            notify(factory)
            wait_until(lambda number=number: heard.settings_changed > number, seconds=1)
            assert heard.is_trusted()

    with contextlib.ExitStack() as stack:
        url, listen_url = settings.database.url, ""
        if way == "session":
            url = stack.enter_context(pgbouncer(url, "session"))
        if way == "listen_url":
            url, listen_url = stack.enter_context(pgbouncer(url, "transaction")), url
        assert listen(through(settings, url, listen_url), look).settings_changed == LOOKS


def test_33_a_listen_url_that_names_another_database_is_not_trusted(
    committed: tuple[Settings, Sessions], make_database: Callable[[], str]
) -> None:
    settings, _ = committed

    def look(heard: Heard) -> None:
        for _ in range(LOOKS):
            time.sleep(0.1)
            assert not heard.is_trusted()

    listen(through(settings, settings.database.url, make_database()), look)


def test_33_a_process_that_was_stopped_does_not_trust_its_cache(
    committed: tuple[Settings, Sessions], environment: dict[str, str]
) -> None:
    """Notifications sent during the pause are read only afterwards, perhaps after the first request."""
    settings, factory = committed
    owned, (serving, upstream), port = sell(factory, settings, "buyer"), start_upstream(), free_port()
    proxy = Proxy(port, proxy_environment(settings, environment["REDIS_URL"], upstream, port))
    worker = proxy.start_worker()
    try:
        for _ in range(3):
            assert proxy.get("/certificates/filter", owned.secret).status == 200
        worker.send_signal(signal.SIGSTOP)
        with factory.begin() as session:
            revocation.revoke(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)
        time.sleep(2)
        worker.send_signal(signal.SIGCONT)
        assert proxy.get("/certificates/filter", owned.secret).status == 401
    finally:
        worker.send_signal(signal.SIGCONT)
        proxy.stop()
        serving.terminate()
        serving.wait(timeout=10)


@dataclass
class Scene:
    """A worker that reaches its database through PgBouncer in transaction mode."""

    settings: Settings
    factory: Sessions
    proxy: Proxy
    owned: Owned
    log: Path

    def revoke(self) -> None:
        with self.factory.begin() as session:
            revocation.revoke(session, self.owned.user, self.owned.token.id, settings=self.settings, actor=PLATFORM)


@pytest.fixture
def scene(
    committed: tuple[Settings, Sessions], environment: dict[str, str], redis: Redis, tmp_path: Path
) -> Iterator[Scene]:
    settings, factory = committed
    port, log = free_port(), tmp_path / "log"
    owned, (serving, upstream) = sell(factory, settings, "buyer"), start_upstream()
    with pgbouncer(settings.database.url, "transaction") as url:
        proxy = Proxy(port, proxy_environment(through(settings, url), environment["REDIS_URL"], upstream, port))
        with log.open("wb") as output:
            command = [sys.executable, "-m", "addon.worker"]
            worker = subprocess.Popen(command, cwd=ROOT, env=proxy.environment, stdout=output, stderr=output)
        proxy.workers.append(worker)
        wait_until(lambda: answers(proxy), seconds=60)
        yield Scene(settings, factory, proxy, owned, log)
        proxy.stop()
    serving.terminate()
    serving.wait(timeout=10)


def answers(proxy: Proxy) -> bool:
    with contextlib.suppress(OSError):
        return proxy.get("/_zenzefi/live").status == 200
    return False


def test_33_behind_a_transaction_pooler_a_revoked_token_is_rejected_at_once(scene: Scene) -> None:
    for _ in range(3):
        assert scene.proxy.get("/certificates/filter", scene.owned.secret).status == 200
    scene.revoke()
    assert scene.proxy.get("/certificates/filter", scene.owned.secret).status == 401


def test_33_behind_a_transaction_pooler_open_exchanges_of_a_revoked_token_are_aborted_within_a_second(
    scene: Scene,
) -> None:
    head = f"GET /slow?seconds=20 HTTP/1.1\r\nHost: x\r\nX-Access-Token: {scene.owned.secret}\r\n\r\n"
    with scene.proxy.connect() as busy:
        busy.sendall(head.encode())
        time.sleep(1)
        scene.revoke()
        begun = time.monotonic()
        busy.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            busy.recv(65536)
        # A second, as with notifications, and what a busy machine takes.
        assert time.monotonic() - begun < 2


def test_a_worker_behind_a_transaction_pooler_is_not_ready_and_logs_which_setting_helps(scene: Scene) -> None:
    assert scene.proxy.get("/_zenzefi/ready").status == 503
    wait_until(lambda: b"set [database] listen_url" in scene.log.read_bytes(), seconds=10)


def test_listen_url_makes_the_worker_ready_behind_a_transaction_pooler(scene: Scene) -> None:
    beside = scene.proxy.beside(DATABASE__LISTEN_URL=scene.settings.database.url)
    beside.start_worker()
    try:
        assert beside.get("/certificates/filter", scene.owned.secret).status == 200
        scene.revoke()
        wait_until(lambda: beside.get("/certificates/filter", scene.owned.secret).status == 401, seconds=1)
    finally:
        beside.stop()
