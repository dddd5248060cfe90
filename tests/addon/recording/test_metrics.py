"""Metrics of the gateway: counted per exchange, added up over all workers, for the ops network only."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from addon.http1.decisions import Peer
from addon.http1.messages.heads import Headers, RequestHead
from addon.process.tls_files import Certificates
from addon.recording.counters import Counters
from addon.recording.metrics import GAUGES, GatewayMetrics, WorkerGauges
from addon.recording.prometheus_text import GatewayTotals, render
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.metrics.catalogue import GATEWAY, LATENCY, Kind
from models.services.gateway.outages import UpstreamState
from models.services.gateway.workers import CERTIFICATES
from tests.addon.conftest import sell
from tests.addon.exchanges import ended_exchange
from tests.addon.processes import Proxy

type Samples = dict[tuple[str, ...], float]


def read(text: bytes) -> Samples:
    """Return each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def metrics_of(settings: Settings, redis: Redis, counters: Counters, connections: int = 0) -> GatewayMetrics:
    return GatewayMetrics(settings, redis, counters, lambda: WorkerGauges(connections, 1, 1, 2, 1))


def request(**headers: str) -> RequestHead:
    first = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return RequestHead("GET", b"/_zenzefi/metrics", None, False, Headers(b"", [], first))


def with_redis[T](url: str, main: Callable[[Redis], Awaitable[T]]) -> T:
    async def run() -> T:
        client = Redis.from_url(url)
        try:
            return await main(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def test_every_exchange_is_counted_by_method_status_and_code() -> None:
    counters = Counters()
    counters.count_exchange(ended_exchange())
    counters.count_exchange(ended_exchange(status=403, code="scope_denied"))
    counters.count_exchange(ended_exchange(None, status=400, code="bad_request"))
    counters.count_exchange(ended_exchange(status=200, code="client_closed"))
    counters.count_bytes(10, 0)
    counters.count_bytes(0, 1000)
    taken = counters.take()
    assert taken["requests", "GET", 200] == 2
    assert taken["requests", "GET", 403] == taken["requests", "INVALID", 400] == 1
    assert (taken["refusals", "scope_denied"], taken["broken_off", "client_closed"]) == (1, 1)
    assert ("refusals", "client_closed") not in taken
    assert (taken["bytes", "in"], taken["bytes", "out"]) == (10, 1000)
    assert counters.take() == {}


def test_latency_ends_with_the_response_head_or_without_one_with_the_exchange() -> None:
    counters = Counters()
    counters.count_exchange(ended_exchange(seconds=100.0))
    refused = ended_exchange(seconds=0.3, status=401, code="token_missing")
    refused.first_byte = 0.0
    counters.count_exchange(refused)
    counters.count_exchange(ended_exchange(seconds=LATENCY[0]))
    taken = {("latency", "", "9"): 1, ("latency", "", "4"): 1, ("latency", "", "0"): 1}
    assert {tuple(map(str, key)): value for key, value in counters.take().items() if key[0] == "latency"} == taken


def test_the_upstreams_latency_is_counted_from_request_to_response_head() -> None:
    counters = Counters()
    answered, unanswered, refused = (
        ended_exchange(seconds=0.4),
        ended_exchange(seconds=0.4, status=504, code="upstream_timeout"),
        ended_exchange(),
    )
    answered.forwarded = answered.first_byte - 0.1
    unanswered.forwarded, unanswered.first_byte = 100.1, 0.0
    for exchange in (answered, unanswered, refused):
        counters.count_exchange(exchange)
    found = {key: count for key, count in counters.take().items() if key[0] == "upstream"}
    assert list(found.values()) == [1]


def test_the_text_has_the_documented_names() -> None:
    counters = Counters()
    counters.count_exchange(ended_exchange(seconds=0.08))
    counters.count_exchange(ended_exchange(seconds=8.0))
    counters.observe("db", "token", 0.3)
    counters.observe("redis", "token_get", 0.001)
    counters.add("admissions", "memory", "admitted")
    totals = {tuple(map(str, key)): value for key, value in counters.take().items()}
    text = render(GatewayTotals(totals, (3, 2, 1, 5, 4), 2))
    found = read(text)
    assert found["proxy_requests_total", "GET", "200"] == 2
    assert found["proxy_latency_seconds_bucket", "0.05"] == 1
    assert found["proxy_latency_seconds_bucket", "2.5"] == 1
    assert found["proxy_latency_seconds_bucket", "5.0"] == 2
    assert found["proxy_latency_seconds_bucket", "+Inf"] == found["proxy_latency_seconds_count",] == 2
    assert found["proxy_latency_seconds_sum",] == pytest.approx(4.04)
    assert found["db_query_duration_seconds_bucket", "0.5", "token"] == 1
    assert found["redis_operation_duration_seconds_count", "token_get"] == 1
    assert found["proxy_admissions_total", "admitted", "memory"] == 1
    assert found["proxy_access_log_dropped_total",] == 0
    assert (found["proxy_open_connections",], found["proxy_flush_backlog",], found["proxy_workers",]) == (3, 2, 2)
    assert (found["redis_connected",], found["database_connected",]) == (1, 1)
    # Without a prober and without TLS at the gateway, there are no metrics of them.
    assert ("upstream_up",) not in found
    assert b"certificate_expires" not in text
    names = [f'le="{end}"' for end in (*LATENCY, "+Inf")]
    assert [name for name in names if f"proxy_latency_seconds_bucket{{{name}}}".encode() not in text] == []


def test_the_text_has_every_metric_that_is_declared_and_no_other() -> None:
    totals = {tuple(f"{metric.key}|{'|'.join(['0'] * max(1, len(metric.labels)))}".split("|")): 1 for metric in GATEWAY}
    histograms = {metric.key for metric in GATEWAY if metric.kind is Kind.HISTOGRAM}
    totals = {(*key, "0") if key[0] in histograms else key: count for key, count in totals.items()}
    upstream = UpstreamState("http://up.test", True, {"10.0.0.1:80": False}, 0.25, "2026-11-24T08:00:00Z", 1.8e9)
    text = render(GatewayTotals(totals, (3, 2, 1, 5, 4), 2, upstream, {"proxy": 1.7e9}))
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    assert set(families) == {metric.name for metric in GATEWAY}
    for metric in GATEWAY:
        assert (families[metric.name].type, families[metric.name].documentation) == (metric.kind, metric.text)
    found = read(text)
    assert (found["upstream_up",], found["upstream_address_up", "10.0.0.1:80"], found["upstream_probe_seconds",]) == (
        (1, 0, 0.25)
    )
    ends = {name: found["certificate_expires_timestamp_seconds", name] for name in ("proxy", "upstream")}
    assert ends == {"proxy": 1.7e9, "upstream": 1.8e9}


def test_certificates_are_read_from_their_files_and_again_when_these_change(
    environment: dict[str, str], tmp_path: Path
) -> None:
    variables = {"DATABASE_URL": "postgresql:///none", "ZENZEFI_PROXY__TLS_CERTIFICATE": str(tmp_path / "chain.pem")}
    certificates = Certificates(config.load_settings({**environment, **variables}))
    assert certificates.ends() == {}
    for days in (2, 30):
        fresh = tmp_path / f"{days}.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        subprocess.run(
            [*command, "-days", str(days), "-subj", "/CN=up.test", "-keyout", "/dev/null", "-out", fresh],
            check=True,
            capture_output=True,
        )
        fresh.replace(tmp_path / "chain.pem")
        assert certificates.ends()["proxy"] - time.time() == pytest.approx(days * 86400, abs=60)
    (tmp_path / "chain.pem").write_text("no certificate")
    assert certificates.ends() == {}


def test_workers_add_up_and_a_dead_one_lowers_no_total(settings: Settings, redis: object) -> None:
    async def main(client: Redis) -> list[Samples]:
        seen = []
        counters = [Counters(), Counters()]
        workers = [metrics_of(settings, client, each, 5) for each in counters]
        for each, worker in zip(counters, workers, strict=True):
            each.count_exchange(ended_exchange())
            each.count_exchange(ended_exchange())
            await worker.publish()
        await client.hset(CERTIFICATES, "public_portal", "1800000000.0")
        seen.append(read((await workers[0].response()).body))
        await client.hset(GAUGES, workers[1]._name, "1000 5 1 1")  # it has not reported for long
        seen.append(read((await workers[0].response()).body))
        counters[0].count_exchange(ended_exchange())
        await workers[0].stop()
        newcomer = metrics_of(settings, client, Counters())
        seen.append(read((await newcomer.response()).body))
        assert await client.hgetall(GAUGES) == {}
        return seen

    both, one, none = with_redis(settings.redis.url, main)
    requests, connections = ("proxy_requests_total", "GET", "200"), ("proxy_open_connections",)
    assert (both[requests], both[connections], both["proxy_workers",]) == (4, 10, 2)
    assert both["certificate_expires_timestamp_seconds", "public_portal"] == 1.8e9
    assert (one[requests], one[connections], one["proxy_workers",]) == (4, 5, 1)
    assert (none[requests], none[connections]) == (5, 0)


def test_a_batch_whose_reply_was_lost_counts_once(settings: Settings, redis: object) -> None:
    async def main(client: Redis) -> Samples:
        counters = Counters()
        worker = metrics_of(settings, client, counters)
        counters.count_exchange(ended_exchange())
        script, lost = worker._script, [True]

        async def lossy(**arguments: object) -> None:
            await script(**arguments)
            if lost.pop():
                raise ConnectionError("the answer never came")

        worker._script = lossy  # type: ignore[assignment]
        with pytest.raises(ConnectionError):
            await worker.publish()
        counters.count_exchange(ended_exchange())
        lost.append(False)
        await worker.publish()
        lost.append(False)
        await worker.publish()
        return read((await worker.response()).body)

    assert with_redis(settings.redis.url, main)["proxy_requests_total", "GET", "200"] == 2


def test_without_redis_the_counters_are_left_out_and_nothing_is_lost(settings: Settings) -> None:
    async def main(client: Redis) -> Samples:
        counters = Counters()
        worker = metrics_of(settings, client, counters, 5)
        counters.count_exchange(ended_exchange())
        for _ in range(2):
            with pytest.raises(RedisConnectionError):
                await worker.publish()
        assert worker._batch["requests", "GET", 200] == 1
        return read((await worker.response()).body)

    found = with_redis("redis://127.0.0.1:1", main)
    assert found == {
        ("proxy_open_connections",): 5,
        ("proxy_flush_backlog",): 1,
        ("proxy_upstream_connections", "busy"): 1,
        ("proxy_upstream_connections", "idle"): 1,
        ("database_connected",): 1,
        ("redis_connected",): 0,
    }


@pytest.mark.parametrize(
    ("peer", "headers", "allowed"),
    [
        (Peer("127.0.0.1", "http"), {}, True),
        (Peer("::1", "http"), {}, True),
        (Peer("::ffff:127.0.0.1", "http"), {}, True),
        (Peer("203.0.113.9", "http"), {}, False),
        (Peer("2001:db8::1", "http"), {}, False),
        (Peer("", "http"), {}, False),
        # Through a proxy that is not trusted, all clients have its address.
        (Peer("127.0.0.1", "http"), {"x_forwarded_for": "203.0.113.9"}, False),
        (Peer("127.0.0.1", "http"), {"forwarded": "for=127.0.0.1"}, False),
        (Peer("127.0.0.1", "http", was_forwarded=True), {"x_forwarded_for": "127.0.0.1"}, True),
        (Peer("203.0.113.9", "http", was_forwarded=True), {"x_forwarded_for": "203.0.113.9"}, False),
    ],
)
def test_only_the_ops_network_may_read(settings: Settings, peer: Peer, headers: dict[str, str], allowed: bool) -> None:
    metrics = metrics_of(settings, Redis.from_url("redis://127.0.0.1:1"), Counters())
    assert metrics.may_read(peer, request(**headers)) is allowed


def test_two_real_workers_return_the_sum_and_a_killed_one_lowers_no_total(
    proxy: Proxy, committed: tuple[Settings, Sessions], redis: object
) -> None:
    settings, factory = committed
    owned = sell(factory, settings, "buyer")

    def scrape() -> Samples:
        reply = proxy.get("/_zenzefi/metrics")
        assert (reply.status, reply.headers["Content-Type"][:10]) == (200, "text/plain")
        return read(reply.body)

    def until(wanted: Callable[[Samples], bool], seconds: float = 15) -> Samples:
        deadline = time.monotonic() + seconds
        while not wanted(got := scrape()):
            assert time.monotonic() < deadline, got
            time.sleep(0.1)
        return got

    def forwarded(got: Samples) -> tuple[float, ...]:
        # Our own scrapes are GETs that are answered with 200 too, so those of the test are POSTs.
        keys = (
            ("proxy_requests_total", "POST", "200"),
            ("proxy_bytes_total", "in"),
            ("proxy_refusals_total", "token_missing"),
        )
        return tuple(got.get(key, 0) for key in keys)

    victim = proxy.start_worker()
    until(lambda got: got.get(("proxy_workers",)) == 2)
    with proxy.connect():
        until(lambda got: got["proxy_open_connections",] >= 2)  # that one, and the scrape itself
    for _ in range(30):
        assert proxy.request("POST", "/echo", owned.secret, body=b"x" * 100, headers={}).status == 200
        assert proxy.get("/echo").status == 401
    got = until(lambda got: forwarded(got) == (30, 3000, 30))
    admitted = {
        tier: got.get(("proxy_admissions_total", "admitted", tier), 0) for tier in ("memory", "redis", "database")
    }
    assert sum(admitted.values()) == 30
    assert admitted["database"] >= 1
    assert got["proxy_admissions_total", "refused", "none"] == 30
    assert got["proxy_upstream_seconds_count",] == 30
    assert got["proxy_loop_lag_seconds_count",] >= 2
    until(lambda got: got.get(("db_query_duration_seconds_count", "flush"), 0) >= 1)
    assert got["redis_connected",] == got["database_connected",] == 1
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    proxy.get("/echo")
    got = until(lambda got: got["proxy_workers",] == 1 and forwarded(got)[2] >= 31)
    assert forwarded(got) == (30, 3000, 31)


def test_outside_the_ops_network_the_address_does_not_exist(proxy: Proxy, committed: tuple[Settings, Sessions]) -> None:
    settings, factory = committed
    owned = sell(factory, settings, "buyer")
    proxy.stop()
    closed = Proxy(proxy.port, {**proxy.environment, "ZENZEFI_PROXY__OPS_NETWORKS": '["10.9.8.0/24"]'})
    closed.start_worker()
    try:
        for secret in (None, owned.secret):
            reply = closed.get("/_zenzefi/metrics", secret)
            assert (reply.status, json.loads(reply.body)["code"]) == (404, "not_found")
            assert b"proxy_requests" not in reply.body
    finally:
        closed.stop()
