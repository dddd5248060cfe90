"""The prober of the upstream: healthy responses, election by a lease, outage records, and the workers' status."""

import asyncio
import json
import signal
import ssl
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from addon.http1.upstream import Upstream
from addon.token_cache.database import TokenDatabase
from addon.upstream_health.probe import ProbeImpossible, build_probe, probe_all
from addon.upstream_health.prober import LEASE, Prober
from addon.upstream_health.status import UpstreamStatus
from models import clock
from models.config import server as config_server
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.leases import Lease
from models.outages import Outage
from models.services.gateway import outages
from models.services.gateway.outages import STATE_KEY, UpstreamState
from tests.addon.conftest import sell
from tests.addon.processes import Proxy, free_port, proxy_environment
from tests.addon.upstream_helpers import FixedServer
from tests.certificates import issue
from tests.factories import engine_of

FAST = {"ZENZEFI_UPSTREAM__PROBE_INTERVAL_SECONDS": "0.3", "ZENZEFI_UPSTREAM__PROBE_TIMEOUT_SECONDS": "1"}


def until[T](ask: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 15) -> T:
    deadline = time.monotonic() + seconds
    while not wanted(got := ask()):
        assert time.monotonic() < deadline, got
        time.sleep(0.05)
    return got


@pytest.fixture
def answering() -> Iterator[FixedServer]:
    server = FixedServer(free_port())
    server.start()
    yield server
    server.end()


def configured(environment: dict[str, str], **more: str) -> config_server.Upstream:
    variables = {f"ZENZEFI_UPSTREAM__{name.upper()}": value for name, value in more.items()}
    return config.load_settings({**environment, "DATABASE_URL": "postgresql:///none", **FAST, **variables}).upstream


def probe_each(upstream: config_server.Upstream) -> list[bool]:
    async def main() -> list[bool]:
        return [(await build_probe(upstream).run(host, port)).is_good for host, port in upstream.endpoints]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 404\r\n\r\n", True),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", True),
        (b"HTTP/1.1 499 X\r\nContent-Length: 99999999\r\n\r\n", True),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", False),
        (b"HTTP/1.1 503 Away\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"x" * 100_000, False),
        (b"", False),
        (None, False),
    ],
)
def test_any_http_answer_below_500_is_good(
    answering: FixedServer, environment: dict[str, str], answer: bytes | None, good: bool
) -> None:
    answering.answer = answer
    begun = time.monotonic()
    assert probe_each(configured(environment, url=f"http://127.0.0.1:{answering.port}", probe_path="/up?x=1")) == [good]
    assert time.monotonic() - begun < 2
    assert answering.requests[0].startswith(f"GET /up?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{answering.port}\r\n".encode())


def test_a_closed_port_and_an_unknown_host_are_failures(environment: dict[str, str]) -> None:
    assert probe_each(configured(environment, url="http://127.0.0.1:1")) == [False]
    assert probe_each(configured(environment, url="http://nowhere.invalid")) == [False]


def test_tls_is_verified_with_the_configured_authority(
    environment: dict[str, str], answering: FixedServer, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=up.test", "-addext", "subjectAltName=DNS:up.test", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    answering.stop()
    answering.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    answering.tls.load_cert_chain(certificate, key)
    answering.start()
    where = json.dumps([f"127.0.0.1:{answering.port}"])
    trusting = configured(environment, url="https://up.test", addresses=where, ca_file=str(certificate))
    assert probe_each(trusting) == [True]
    ((_, probed),) = asyncio.run(probe_all(build_probe(trusting), trusting.endpoints)).items()
    ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    assert probed.certificate_ends == ends.timestamp()
    assert probe_each(configured(environment, url="https://up.test", addresses=where)) == [False]
    assert probe_each(configured(environment, url="https://other.test", addresses=where, ca_file=str(certificate))) == [
        False
    ]


def test_the_client_certificate_is_presented(
    environment: dict[str, str], answering: FixedServer, tmp_path: Path
) -> None:
    """Without it an upstream that wants one (TLS 1.3: RFC 8446, 4.3.2) would be in an outage for ever."""
    authority, client = issue(tmp_path, "up", "up.test"), issue(tmp_path, "client", "client.test")
    answering.stop()
    answering.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client))
    answering.tls.verify_mode = ssl.CERT_REQUIRED
    answering.tls.load_cert_chain(authority)
    answering.start()
    where = json.dumps([f"127.0.0.1:{answering.port}"])
    files = {"ca_file": str(authority), "client_certificate": str(client)}
    assert probe_each(configured(environment, url="https://up.test", addresses=where, **files)) == [True]
    assert probe_each(configured(environment, url="https://up.test", addresses=where, ca_file=str(authority))) == [
        False
    ]


def test_an_authority_that_cannot_be_read_is_named_at_the_start(environment: dict[str, str]) -> None:
    variables = {"DATABASE_URL": "postgresql:///none", "ZENZEFI_UPSTREAM__URL": "https://up.test"}
    settings = config.load_settings({**environment, **variables, "ZENZEFI_UPSTREAM__CA_FILE": "/nowhere/ca.pem"})
    with pytest.raises(config.ConfigError, match=r"upstream\.ca_file: cannot be used: No such file"):
        Prober(settings, AsyncRedis.from_url(settings.redis.url))


def test_an_upstream_may_have_several_addresses(environment: dict[str, str]) -> None:
    upstream = configured(environment, url="https://up.test", addresses='["10.0.0.1:8443", "[::1]:443"]')
    assert upstream.endpoints == (("10.0.0.1", 8443), ("::1", 443))
    assert configured(environment, url="https://up.test").endpoints == (("up.test", 443),)
    for wrong in ("10.0.0.1", "10.0.0.1:x", "http://a:1", "a:1/b", "u@a:1", "a:99999", ""):
        with pytest.raises(config.ConfigError, match="addresses"):
            configured(environment, url="https://up.test", addresses=json.dumps([wrong]))
    for wrong in ("up", "/a b", "/a\r\nX: y"):
        with pytest.raises(config.ConfigError, match="probe_path"):
            configured(environment, url="https://up.test", probe_path=wrong)


@dataclass
class Watched:
    """A prober and an upstream status on one database."""

    settings: Settings
    factory: Sessions
    upstream: Upstream

    def run(self, main: Callable[[Prober, UpstreamStatus], Any]) -> Any:
        async def run() -> Any:
            redis = AsyncRedis.from_url(self.settings.redis.url)
            database = TokenDatabase(self.settings)
            prober = Prober(self.settings, redis)
            try:
                return await main(prober, UpstreamStatus(self.settings, redis, database, self.upstream))
            finally:
                await prober.close()
                await redis.aclose()
                database.close()

        return asyncio.run(run())

    def record(self) -> list[Outage]:
        with self.factory() as session:
            return list(session.scalars(select(Outage).order_by(Outage.opened_at)))


@pytest.fixture
def watched(
    committed: tuple[Settings, Sessions], environment: dict[str, str], answering: FixedServer, redis: Redis
) -> Watched:
    """An upstream with two addresses, of which the second one is closed."""
    settings, factory = committed
    where = {
        "ZENZEFI_UPSTREAM__URL": "http://up.test",
        "ZENZEFI_UPSTREAM__ADDRESSES": f'["127.0.0.1:{answering.port}", "127.0.0.1:1"]',
    }
    settings = config.load_settings({**environment, **FAST, **where, "DATABASE_URL": settings.database.url})
    return Watched(settings, factory, Upstream(settings.upstream.endpoints, b"up.test"))


async def becomes(ask: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + 10
    while (got := ask()) != wanted:
        assert time.monotonic() < deadline, got
        await asyncio.sleep(0.02)


def test_an_outage_is_opened_and_closed_and_the_status_follows(watched: Watched, answering: FixedServer) -> None:
    async def main(prober: Prober, upstream_status: UpstreamStatus) -> None:
        await upstream_status.refresh()
        assert upstream_status.is_up is None
        task = asyncio.create_task(prober.run())
        watch = asyncio.create_task(upstream_status.watch())
        await becomes(lambda: upstream_status.is_up, True)
        assert watched.record() == []
        alive, dead = watched.upstream.addresses
        assert [watched.upstream.candidates(time.monotonic()) for _ in range(2)] == [[alive, dead]] * 2
        began = clock.now()
        answering.answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
        await becomes(lambda: upstream_status.is_up, False)
        [outage] = watched.record()
        assert outage.opened_at >= began
        assert outage.closed_at is None
        answering.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        await becomes(lambda: upstream_status.is_up, True)
        [outage] = watched.record()
        assert outage.closed_at is not None
        task.cancel()
        watch.cancel()

    watched.run(main)


def test_maintenance_is_recorded_as_an_outage_so_that_tokens_are_credited(watched: Watched) -> None:
    async def main(prober: Prober, _upstream_status: UpstreamStatus) -> None:
        assert prober._take_lease()
        closed = [True, True, False]
        prober._in_maintenance = lambda: closed[0]
        while closed:
            await prober.probe_once()
            closed.pop(0)

    watched.run(main)
    [outage] = watched.record()
    assert outage.closed_at is not None


def test_one_failure_between_two_good_probes_is_no_outage(watched: Watched, answering: FixedServer) -> None:
    async def main(prober: Prober, upstream_status: UpstreamStatus) -> None:
        assert prober._take_lease()
        for answers in (True, False, True, False, True):
            answering.answer = b"HTTP/1.1 200 OK\r\n\r\n" if answers else b""
            await prober.probe_once()
            await upstream_status.refresh()
            assert upstream_status.is_up is True
        assert watched.record() == []

    watched.run(main)


def test_without_redis_the_status_is_read_from_the_outage_record(watched: Watched) -> None:
    async def main(_prober: Prober, upstream_status: UpstreamStatus) -> None:
        upstream_status._redis = AsyncRedis.from_url("redis://127.0.0.1:1")
        await upstream_status.refresh()
        assert upstream_status.is_up is None
        with watched.factory.begin() as session:
            session.add(Outage(opened_at=clock.now(), last_failed_at=clock.now()))
        upstream_status._record_read_at = float("-inf")
        await upstream_status.refresh()
        assert upstream_status.is_up is False

    watched.run(main)


def test_an_address_that_recovers_is_marked_as_reachable_once(watched: Watched, redis: Redis) -> None:
    first, second = watched.upstream.addresses

    def say(second_answers: bool) -> None:
        answers = {f"{first[0]}:{first[1]}": True, f"{second[0]}:{second[1]}": second_answers}
        redis.set(STATE_KEY, UpstreamState("http://up.test", True, answers).as_json())

    def order() -> set[tuple[tuple[str, int], ...]]:
        return {tuple(watched.upstream.candidates(time.monotonic())) for _ in range(2)}

    async def main(_prober: Prober, upstream_status: UpstreamStatus) -> None:
        say(False)
        await upstream_status.refresh()
        assert order() == {(first, second)}
        say(True)
        await upstream_status.refresh()
        assert order() == {(first, second), (second, first)}
        # This worker cannot reach it, although the prober on another machine can.
        watched.upstream.mark_failed(second, time.monotonic())
        await upstream_status.refresh()
        assert order() == {(first, second)}

    watched.run(main)


def lose_the_lease(watched: Watched) -> None:
    """Let the lease expire before it is renewed, as when the process was suspended."""
    with Session(engine_of(watched.factory)) as session, session.begin():
        session.execute(update(Lease).values(expires_at=func.clock_timestamp() - timedelta(seconds=1)))


def test_only_the_holder_of_the_lease_probes_and_records(watched: Watched) -> None:
    async def main(prober: Prober, _upstream_status: UpstreamStatus) -> None:
        other = Prober(watched.settings, AsyncRedis.from_url(watched.settings.redis.url))
        assert await prober._in_thread(prober._take_lease)
        assert not await other._in_thread(other._take_lease)
        lose_the_lease(watched)
        assert await other._in_thread(other._take_lease)
        with pytest.raises(ProbeImpossible):
            await prober.probe_once()
        await other.close()
        assert await prober._in_thread(prober._take_lease)

    watched.run(main)


def prober_of(factory: Sessions) -> uuid.UUID | None:
    """Return the prober that holds the lease."""
    with factory() as session:
        return session.scalar(select(Lease.holder).where(Lease.name == LEASE))


def test_when_the_probing_worker_is_killed_another_one_takes_over(
    committed: tuple[Settings, Sessions], environment: dict[str, str], answering: FixedServer, redis: Redis
) -> None:
    settings, factory = committed
    owned = sell(factory, settings, "buyer")
    port = free_port()
    variables = proxy_environment(settings, environment["REDIS_URL"], f"http://127.0.0.1:{answering.port}", port)
    # Two addresses, of which one is closed: requests reach the other one.
    variables["ZENZEFI_UPSTREAM__ADDRESSES"] = f'["127.0.0.1:1", "127.0.0.1:{answering.port}"]'
    # The lease of a killed prober (interval, timeout and a second) ends before its last failure is too old to continue
    # the outage.
    slow = {"ZENZEFI_UPSTREAM__PROBE_INTERVAL_SECONDS": "1.5", "ZENZEFI_UPSTREAM__PROBE_TIMEOUT_SECONDS": "0.5"}
    proxy = Proxy(port, {**variables, **slow})
    probing = proxy.start_worker()

    def status() -> str:
        return str(json.loads(proxy.get("/health").body)["status"])

    try:
        first = until(lambda: prober_of(factory), lambda holder: holder is not None)
        proxy.start_worker()
        assert [proxy.get("/", owned.secret).status for _ in range(6)] == [200] * 6
        answering.stop()
        until(status, lambda word: word == "degraded")
        with factory() as session:
            held = outages.current_outage(session, settings.upstream.probe_gap)
        assert held is not None
        # Requests are still forwarded, and fail with a status of their own.
        assert proxy.get("/", owned.secret).status == 502
        probing.send_signal(signal.SIGKILL)
        probing.wait()
        until(lambda: prober_of(factory), lambda holder: holder not in {None, first}, seconds=6)
        answering.start()
        until(status, lambda word: word == "healthy")
        with factory() as session:
            [outage] = session.scalars(select(Outage))
        assert outage.id == held.id
        assert outage.closed_at is not None
    finally:
        proxy.stop()
    assert prober_of(factory) is None
