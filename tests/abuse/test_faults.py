"""Servers killed and restarted under load, failing upstreams and slow clients.

docs/spec/invariants.md#20-limits-across-workers
docs/spec/invariants.md#21-upstream-failures
docs/spec/invariants.md#22-restarts-of-redis-and-postgresql
docs/spec/invariants.md#23-killed-workers
docs/spec/invariants.md#24-slow-and-idle-clients-at-the-proxy
docs/spec/invariants.md#25-large-transfers

Sizes are small here; `./zenzefi test --soak` uses the full figures.
"""

import contextlib
import json
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models import database
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.tokens import revocation
from ops.commands import migrate
from ops.servers import PostgresServer, RedisServer
from tests.abuse.statement_recorder import Recorder
from tests.addon.conftest import Owned, sell
from tests.addon.processes import Proxy, free_port, proxy_environment, start_upstream
from tests.conftest import SECRETS
from tests.e2e.steps import resident_kib
from tests.factories import counted

SOAK = bool(os.environ.get("ZENZEFI_SOAK"))
FAULT_SECONDS = 30.0 if SOAK else 3.0
CLIENTS = 8
# All clients of these tests have one address and, but for one, one token.
UNLIMITED = {"ZENZEFI_LIMITS__PROXY_PER_MINUTE": "1000000", "ZENZEFI_PROXY__CONNECTIONS_PER_ADDRESS": "0"}


@dataclass
class Load:
    """Clients that send requests as fast as they get responses, and record the results."""

    proxy: Proxy
    secret: str
    statuses: list[int] = field(default_factory=list)
    broken: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _ask(self) -> None:
        while not self._stopping.is_set():
            try:
                self.statuses.append(self.proxy.get("/", self.secret).status)
            except OSError:
                self.broken += 1
            time.sleep(0.01)

    def last(self, count: int = 20) -> set[int]:
        return set(self.statuses[-count:])


@dataclass
class Site:
    """A separate platform, whose servers can be killed without affecting other tests."""

    postgres: PostgresServer
    redis: RedisServer
    settings: Settings
    factory: Sessions
    upstream: Recorder
    proxy: Proxy
    owned: Owned

    def counted(self) -> int:
        return counted(self.factory).requests


@pytest.fixture
def site() -> Iterator[Site]:
    # Not below pytest's own folder: the user that PostgreSQL runs as for root must be able to pass through, and another
    # pytest that starts meanwhile closes that one.
    with tempfile.TemporaryDirectory(prefix="zenzefi-faults-") as name:
        Path(name).chmod(0o711)
        yield from _site(Path(name))


def _site(folder: Path) -> Iterator[Site]:
    with PostgresServer(folder / "postgres", fast=True) as postgres, RedisServer(folder / "redis", fast=True) as redis:
        settings = config.load_settings({**SECRETS, "DATABASE_URL": postgres.url, "REDIS_URL": redis.url})
        migrate.migrate(settings)
        engine = database.connect(settings.database)
        factory, upstream, port = database.sessions(engine), Recorder(), free_port()
        variables = proxy_environment(settings, redis.url, upstream.address, port)
        proxy = Proxy(port, {**variables, **UNLIMITED})
        proxy.start_worker()
        yield Site(postgres, redis, settings, factory, upstream, proxy, sell(factory, settings, "buyer"))
        proxy.stop()
        upstream.close()
        engine.dispose()


def wait_until(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


def test_22_redis_killed_and_restarted_under_load(site: Site) -> None:
    assert site.proxy.get("/", site.owned.secret).status == 200
    with Load(site.proxy, site.owned.secret) as load:
        time.sleep(1)
        site.redis.kill()
        time.sleep(FAULT_SECONDS)
        # A new buyer gets in as well: the database answers.
        late = sell(site.factory, site.settings, "late")
        assert site.proxy.get("/", late.secret).status == 200
        site.redis.start()
        time.sleep(2)
    assert load.broken == 0
    assert set(load.statuses) == {200}
    wait_until(lambda: site.counted() == len(load.statuses) + 2, seconds=10)
    assert json.loads(site.proxy.get("/health").body)["status"] in {"healthy", "degraded", "unhealthy"}


def test_22_postgresql_killed_and_restarted_under_load(site: Site) -> None:
    assert site.proxy.get("/", site.owned.secret).status == 200
    unused = sell(site.factory, site.settings, "unused")
    with Load(site.proxy, site.owned.secret) as load:
        time.sleep(1)
        site.postgres.kill()
        time.sleep(FAULT_SECONDS)
        during = load.last()
        assert site.proxy.get("/", unused.secret).status == 503
        assert site.proxy.get("/", "x" * 64).status == 401
        site.postgres.start()
        wait_until(lambda: site.proxy.get("/", unused.secret).status == 200, seconds=20)
        time.sleep(1)
    assert during == {200}
    assert load.broken == 0
    assert set(load.statuses) == {200}
    wait_until(lambda: site.counted() == len(load.statuses) + 2, seconds=10)
    with site.factory.begin() as session:
        revocation.revoke(session, site.owned.user, site.owned.token.id, settings=site.settings, actor=PLATFORM)
    time.sleep(1)
    assert site.proxy.get("/", site.owned.secret).status == 401


def test_23_a_worker_killed_under_load_loses_at_most_one_flush_of_counts(site: Site) -> None:
    assert site.proxy.get("/", site.owned.secret).status == 200
    site.proxy.start_worker()
    with Load(site.proxy, site.owned.secret) as load:
        time.sleep(3)
        answered_before = len(load.statuses)
        time.sleep(1.2)
        site.proxy.workers[0].send_signal(signal.SIGKILL)
        answered_at_kill = len(load.statuses)
        time.sleep(2)
    site.proxy.stop()
    served = load.statuses.count(200) + 1
    lost = served - site.counted()
    # What one flush interval and a bit held, for both workers together, is more than the one that died can lose.
    assert 0 <= lost <= answered_at_kill - answered_before + CLIENTS


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/hang", 504, "upstream_timeout"),
        ("/close", 502, "upstream_closed"),
        ("/garbage", 502, "upstream_invalid"),
    ],
)
def test_21_a_failing_upstream_gets_a_clear_error_in_time(impatient: Site, path: str, status: int, code: str) -> None:
    begun = time.monotonic()
    reply = impatient.proxy.get(path, impatient.owned.secret)
    assert time.monotonic() - begun < 4
    assert (reply.status, json.loads(reply.body)["code"]) == (status, code)
    assert b"127.0.0.1" not in reply.body
    assert impatient.proxy.get("/", impatient.owned.secret).status == 200


def test_21_a_truncated_body_of_the_upstream_is_truncated_for_the_client(impatient: Site) -> None:
    head = f"GET /short HTTP/1.1\r\nHost: x\r\nX-Access-Token: {impatient.owned.secret}\r\n\r\n"
    with impatient.proxy.connect() as connection:
        connection.sendall(head.encode())
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"only this")
    assert impatient.proxy.get("/", impatient.owned.secret).status == 200


@pytest.fixture
def impatient(committed: tuple[Settings, Sessions], environment: dict[str, str], tmp_path: Path) -> Iterator[Site]:
    """A worker with a timeout of one second for the upstream."""
    settings, factory = committed
    upstream, port = Recorder(), free_port()
    variables = proxy_environment(settings, environment["REDIS_URL"], upstream.address, port)
    proxy = Proxy(port, {**variables, "ZENZEFI_UPSTREAM__READ_TIMEOUT_SECONDS": "1"})
    proxy.start_worker()
    unused = (PostgresServer(tmp_path / "p"), RedisServer(tmp_path / "r"))
    yield Site(*unused, settings, factory, upstream, proxy, sell(factory, settings, "buyer"))
    proxy.stop()
    upstream.close()


def test_20_while_redis_is_down_each_worker_enforces_its_share_of_a_limit(site: Site) -> None:
    limit = {"ZENZEFI_LIMITS__PROXY_PER_MINUTE": "40", "ZENZEFI_PROXY__WORKERS": "2"}
    site.proxy.stop()
    limited = Proxy(site.proxy.port, {**site.proxy.environment, **limit})
    limited.start_worker()
    limited.start_worker()
    try:
        site.redis.kill()
        for _ in range(12):  # Both workers notice by their next exchange.
            assert limited.get("/", site.owned.secret).status == 200
        time.sleep(0.5)
        fresh = sell(site.factory, site.settings, "fresh")
        replies = [limited.get("/", fresh.secret) for _ in range(100)]
        assert 30 <= sum(reply.status == 200 for reply in replies) <= 40
        assert {reply.status for reply in replies} == {200, 429}
        assert all(1 <= int(reply.headers["Retry-After"]) <= 61 for reply in replies if reply.status == 429)
    finally:
        limited.stop()


def test_24_slow_and_idle_clients_do_not_starve_other_clients(site: Site) -> None:
    assert site.proxy.get("/", site.owned.secret).status == 200
    worker = site.proxy.workers[0].pid
    before, token = resident_kib(worker), f"X-Access-Token: {site.owned.secret}\r\n"
    with contextlib.ExitStack() as stack:

        def connect(count: int, request: str = "") -> list[socket.socket]:
            made = [stack.enter_context(site.proxy.connect()) for _ in range(count)]
            for connection in made:
                connection.sendall(request.encode())
            return made

        connect(5000 if SOAK else 200)
        heads = connect(20, "GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
        bodies = connect(20, f"POST / HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 1000000\r\n\r\n")
        readers = connect(20, f"GET /flood HTTP/1.1\r\nHost: x\r\n{token}\r\n")
        [endless] = connect(1, "GET / HTTP/1.1\r\nHost: x\r\n")
        begun = time.monotonic()
        while time.monotonic() - begun < (10 if SOAK else 2):
            for connection in (*heads, *bodies):
                _drip(connection)
            for connection in readers:
                assert connection.recv(1)
            _drip(endless, b"X-A: endless\r\n" * 50)
            asked = time.monotonic()
            assert site.proxy.get("/", site.owned.secret).status == 200
            assert time.monotonic() - asked < 2
        assert endless.recv(65536).startswith(b"HTTP/1.1 431 ")
        assert resident_kib(worker) - before < 40 * (5000 if SOAK else 200) + 32 * 1024


def _drip(connection: socket.socket, data: bytes = b"x") -> None:
    with contextlib.suppress(OSError):  # the worker has had enough of it, which is what it is for
        connection.sendall(data)


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_25_a_large_transfer_needs_constant_memory(
    committed: tuple[Settings, Sessions], environment: dict[str, str], sample: str, direction: str
) -> None:
    settings, factory = committed
    size, port = (2 * 1024**3 if SOAK else 200 * 1024**2), free_port()
    proxy = Proxy(port, proxy_environment(settings, environment["REDIS_URL"], sample, port))
    worker = proxy.start_worker()
    owned = sell(factory, settings, "buyer")
    try:
        assert proxy.get("/", owned.secret).status == 200
        before = resident_kib(worker.pid)
        with proxy.connect() as connection:
            connection.settimeout(60)
            head = f"HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Access-Token: {owned.secret}\r\n"
            if direction == "download":
                connection.sendall(f"GET /bytes/{size} {head}\r\n".encode())
                received = sum(len(data) for data in iter(lambda: connection.recv(1 << 20), b""))
                assert size < received < size + 2048
            else:
                connection.sendall(f"POST /echo {head}Content-Length: {size}\r\n\r\n".encode())
                block = b"x" * (1 << 20)
                for _ in range(size // len(block)):
                    connection.sendall(block)
                assert f'"body_length": {size}'.encode() in read_all(connection)
        assert resident_kib(worker.pid) - before < 32 * 1024
    finally:
        proxy.stop()


def test_24_an_upload_in_chunks_of_one_byte_arrives_whole_and_delays_no_other_client(
    committed: tuple[Settings, Sessions], environment: dict[str, str], sample: str
) -> None:
    settings, factory = committed
    port, owned = free_port(), sell(factory, settings, "buyer")
    proxy = Proxy(port, proxy_environment(settings, environment["REDIS_URL"], sample, port))
    worker = proxy.start_worker()
    head = f"POST /echo HTTP/1.1\r\nHost: x\r\nX-Access-Token: {owned.secret}\r\nConnection: close\r\n"
    try:
        assert proxy.get("/", owned.secret).status == 200
        before = resident_kib(worker.pid)
        with proxy.connect() as connection:
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for _ in range(20):
                connection.sendall(b"1\r\nx\r\n" * 5000)
                asked = time.monotonic()
                assert proxy.get("/", owned.secret).status == 200
                assert time.monotonic() - asked < 2
            connection.sendall(b"0\r\n\r\n")
            assert b'"body_length": 100000' in read_all(connection)
        assert resident_kib(worker.pid) - before < 16 * 1024
    finally:
        proxy.stop()


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture(scope="module")
def sample() -> Iterator[str]:
    process, address = start_upstream()
    yield address
    process.terminate()
    process.wait(timeout=10)
