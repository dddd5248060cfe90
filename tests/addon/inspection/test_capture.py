"""Traffic inspection: flows are published only while an inspection is active, bounded, and never delay a request."""

import io
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.addons.view import View
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader
from mitmproxy.test import taddons
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from addon.http1.exchange import Exchange
from addon.http1.observe.recording import Recording
from addon.inspection import capture, publisher
from addon.inspection.capture import CaptureObserver
from addon.inspection.publisher import FlowPublisher
from models import clock
from models.config.operations import Inspection as Rules
from models.config.settings import Settings
from models.database import Sessions
from models.inspections import Inspection, InspectionTarget
from models.services.actor import Actor
from models.services.gateway import inspections
from models.services.gateway.inspections import ActiveInspection
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.gateway.workers import FLOWS
from ops.inspect.flow_feed import FlowFeed
from tests.abuse.statement_recorder import Recorder
from tests.addon.conftest import sell
from tests.addon.exchanges import ended_exchange, make_snapshot
from tests.addon.inspection_helpers import viewer
from tests.addon.processes import Proxy, free_port, listeners, proxy_environment
from tests.addon.recording.test_metrics import read
from tests.addon.test_worker import wait_for
from tests.factories import person

type Committed = tuple[Settings, Sessions]

STREAM, VIEWED = 30, 12
LATER = clock.now() + timedelta(minutes=5)


def with_rules(settings: Settings, **more: Any) -> Settings:
    return settings.model_copy(update={"inspection": Rules(**more)})


def exchange_of(token: TokenSnapshot) -> Exchange:
    exchange = ended_exchange(b"/x")
    exchange.snapshot = token
    return exchange


@pytest.fixture
def watch(settings: Settings) -> CaptureObserver:
    return CaptureObserver(with_rules(settings, flows_per_second=8), FlowPublisher(settings))


def test_only_exchanges_of_the_inspected_target_are_recorded(watch: CaptureObserver) -> None:
    watched, other = make_snapshot(), make_snapshot()
    watch.set(
        [
            ActiveInspection(InspectionTarget.TOKEN, watched.token_id, LATER),
            ActiveInspection(InspectionTarget.PATH, b"/cert", LATER),
        ]
    )
    assert watch.begin(exchange_of(watched)) is not None
    assert watch.begin(exchange_of(other)) is None
    assert watch.begin(ended_exchange(b"/certificates")) is not None
    assert watch.begin(ended_exchange(b"/x")) is None
    watch.set([ActiveInspection(InspectionTarget.USER, other.user_id, LATER)])
    assert watch.begin(exchange_of(replace(other, token_id=uuid.uuid4()))) is not None
    assert watch.begin(exchange_of(watched)) is None
    watch.set([ActiveInspection(InspectionTarget.EVERYTHING, None, LATER)])
    assert watch.begin(ended_exchange(b"/x")) is not None
    assert watch.begin(ended_exchange(None)) is None


def test_an_exchange_that_ends_after_the_inspection_is_not_published(watch: CaptureObserver) -> None:
    watch.set([ActiveInspection(InspectionTarget.EVERYTHING, None, LATER)])
    recording = watch.begin(ended_exchange())
    assert recording is not None
    watch.set([])
    watch.end(ended_exchange(), recording)
    assert not watch._publisher._queue


def test_recordings_above_the_limits_are_dropped_and_counted(
    watch: CaptureObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "MAX_CONCURRENT_RECORDINGS", 5)
    watch.set([ActiveInspection(InspectionTarget.EVERYTHING, None, LATER)])
    recordings = [watch.begin(ended_exchange()) for _ in range(7)]
    for recording in recordings:
        if recording is not None:
            watch.end(ended_exchange(), recording)
    assert [watch.begin(ended_exchange()) is None for _ in range(5)] == [False, False, False, True, True]
    assert watch._publisher.take_counts() == {("flows_dropped", "busy"): 2, ("flows_dropped", "rate"): 2}
    assert watch._publisher.take_counts() == {}
    later = ended_exchange()
    later.started, later.ended = later.started + 1, later.ended + 1
    assert watch.begin(later) is not None


def test_a_full_queue_and_a_failing_redis_cost_flows_and_nothing_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, watch: CaptureObserver
) -> None:
    monkeypatch.setattr(publisher, "QUEUE_FLOWS", 2)
    monkeypatch.setattr(publisher, "BACKOFF_SECONDS", 0)
    nowhere = settings.redis.model_copy(update={"url": "redis://127.0.0.1:1"})
    sender = FlowPublisher(settings.model_copy(update={"redis": nowhere}))
    began = time.monotonic()
    for _ in range(3):
        sender.put(ended_exchange(), Recording(watch, 10))
    assert time.monotonic() - began < 0.1
    sender.start()
    sender.stop()
    sender.join()
    assert sender.take_counts() == {("flows_dropped", "queue"): 1, ("flows_dropped", "redis"): 2}


def sent(redis: Redis) -> list[HTTPFlow]:
    entries: Any = redis.xrange(FLOWS)
    return [flow for _, fields in entries for flow in FlowReader(io.BytesIO(fields[b"flow"])).stream()]  # type: ignore[misc]


def test_the_stream_is_bounded_in_flows_and_in_bytes(settings: Settings, redis: Redis, watch: CaptureObserver) -> None:
    sender = FlowPublisher(with_rules(settings, stream_flows=64, stream_mib=1))
    assert sender._rules.flow_bytes == 16 * 1024
    for number in range(100):
        recording = Recording(watch, 64 * 1024)
        recording.add_request(b"x " * (100 if number % 2 else 20_000))
        exchange = ended_exchange(b"/n/%d" % number)
        exchange.bytes_in = len(recording.request_body)
        sender.put(exchange, recording)
    huge = ended_exchange(b"/" + b"a b" * 20_000)
    sender.put(huge, Recording(watch, 10))
    sender.start()
    sender.stop()
    sender.join()
    flows = sent(redis)
    assert [flow.request.path for flow in flows][-2:] == ["/n/98?secret=[redacted]", "/n/99?secret=[redacted]"]
    assert len(flows) == 64
    assert (flows[-2].request.raw_content, flows[-2].comment) == (b"", "The bodies are too large to be shown.")
    assert flows[-1].request.raw_content == b"x " * 100
    sizes = [len(fields[b"flow"]) for _, fields in redis.xrange(FLOWS)]  # type: ignore[union-attr]
    assert max(sizes) <= 16 * 1024
    assert sender.take_counts() == {("flows_sent", ""): 100, ("flows_dropped", "large"): 1}
    assert 0 < redis.ttl(FLOWS) <= 3600  # type: ignore[operator]


@pytest.fixture
def watched_proxy(committed: Committed, upstream: str, environment: dict[str, str], redis: Redis) -> Iterator[Proxy]:
    """A worker whose stream is small."""
    port = free_port()
    variables = proxy_environment(committed[0], environment["REDIS_URL"], upstream, port)
    variables["ZENZEFI_INSPECTION__FLOWS_PER_SECOND"] = "1000"
    small = {"ZENZEFI_INSPECTION__STREAM_FLOWS": str(STREAM), "ZENZEFI_INSPECTION__VIEWER_FLOWS": str(VIEWED)}
    proxy = Proxy(port, {**variables, **small, "ZENZEFI_INSPECTION__SECRET_NAMES": '["chassis"]'})
    proxy.start_worker()
    yield proxy
    proxy.stop()


@dataclass
class InspectionAdmin:
    """An admin who starts inspections."""

    committed: Committed
    actor: Actor

    def start(self, target: InspectionTarget, name: str = "", seconds: float | None = None) -> Inspection:
        """Start an inspection of 15 minutes, or of so many seconds."""
        settings, factory = self.committed
        with factory.begin() as session:
            found = inspections.start(
                session,
                target=target,
                name=name,
                minutes=15,
                reason="for a test",
                rules=settings.inspection,
                actor=self.actor,
            )
            if seconds is not None:
                found.ends_at = clock.now() + timedelta(seconds=seconds)
        return found

    def end(self, found: Inspection) -> None:
        with self.committed[1].begin() as session:
            inspections.end(session, found.id, actor=self.actor)


@pytest.fixture
def admin(committed: Committed) -> InspectionAdmin:
    return InspectionAdmin(committed, Actor(person(committed[1], "dana", is_superuser=True).id))


def test_an_operator_sees_the_newest_flows_of_what_is_watched_and_only_while_it_is(
    watched_proxy: Proxy, committed: Committed, admin: InspectionAdmin, redis: Redis, tmp_path: Path
) -> None:
    settings, factory = committed
    proxy, owned, other = watched_proxy, sell(factory, settings, "buyer"), sell(factory, settings, "other")
    with viewer(proxy.environment, tmp_path) as shown:
        assert proxy.get("/echo?before", owned.secret).status == 200
        found = admin.start(InspectionTarget.TOKEN, str(owned.token.id))
        time.sleep(1)  # an inspection starts in every worker within a second
        assert proxy.get("/echo?others", other.secret).status == 200
        assert proxy.get("/echo?mine", owned.secret).status == 200
        assert proxy.get("/%2e%2e/x", owned.secret).status == 400
        wait_for(shown.paths, ["/echo?mine"])
        [flow] = shown.flows()
        assert (flow["request"]["method"], flow["response"]["status_code"]) == ("GET", 200)
        assert json.loads(shown.content(flow, "response"))["path"] == "/echo?mine"
        # More than the limits: the newest stay, in Redis and in the list.
        for number in range(STREAM + 10):
            assert proxy.get(f"/echo?n={number}", owned.secret).status == 200
        wait_for(lambda: shown.paths()[-1:], [f"/echo?n={STREAM + 9}"])
        assert shown.paths() == [f"/echo?n={number}" for number in range(STREAM + 10 - VIEWED, STREAM + 10)]
        assert redis.xlen(FLOWS) == STREAM
        # Ended by the admin, it stops within a second, and its thread too; the database's threads vary.
        threads = threads_of(proxy)
        admin.end(found)
        time.sleep(1)
        assert proxy.get("/echo?after", owned.secret).status == 200
        wait_for(lambda: threads_of(proxy) < threads, True)
        # It ends on time by itself, and killing mitmweb meanwhile does not affect requests.
        admin.start(InspectionTarget.PATH, "/echo", seconds=6)
        ends = time.monotonic() + 6
        time.sleep(1)
        assert proxy.get("/echo?again", other.secret).status == 200
        assert proxy.get("/bytes/10", other.secret).status == 200
        wait_for(lambda: shown.paths()[-1:], ["/echo?again"])
        shown.process.kill()
        assert proxy.get("/echo?unseen", other.secret).status == 200
        time.sleep(max(0, ends + 0.6 - time.monotonic()))
        assert proxy.get("/echo?late", other.secret).status == 200
    time.sleep(0.3)
    assert [flow.request.path for flow in sent(redis)][-2:] == ["/echo?again", "/echo?unseen"]
    wait_for(lambda: read(proxy.get("/_zenzefi/metrics").body)["proxy_flows_sent_total",], 1 + STREAM + 10 + 2)


def test_a_websocket_is_shown_when_it_opens_and_again_when_it_ends(
    watched_proxy: Proxy, committed: Committed, admin: InspectionAdmin, redis: Redis, tmp_path: Path
) -> None:
    settings, factory = committed
    recorder = Recorder()
    proxy, owned = watched_proxy.beside(UPSTREAM__URL=recorder.address), sell(factory, settings, "buyer")
    proxy.start_worker()
    head = f"GET /ws HTTP/1.1\r\nHost: x\r\nX-Access-Token: {owned.secret}\r\nX-Key: hush\r\n"
    upgrade = head.encode() + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n"
    with viewer(proxy.environment, tmp_path) as shown, proxy.connect() as watched, proxy.connect() as early:
        early.sendall(upgrade)
        assert early.recv(4096).startswith(b"HTTP/1.1 101 ")
        admin.start(InspectionTarget.TOKEN, str(owned.token.id))
        time.sleep(1)
        watched.sendall(upgrade)
        assert watched.recv(4096).startswith(b"HTTP/1.1 101 ")
        wait_for(shown.paths, ["/ws"])
        [flow] = shown.flows()
        assert (flow["response"]["status_code"], flow["websocket"]["timestamp_end"]) == (101, None)
        assert ["Upgrade", "websocket"] in flow["response"]["headers"]
        assert flow["comment"] == "The WebSocket is open. Its messages are not shown."
        watched.sendall(b"hush-hush")
        wait_for(lambda: recorder.received.endswith(b"hush-hush"), True)
        watched.close()
        wait_for(lambda: shown.flows()[0]["websocket"]["timestamp_end"] is None, False)
        [flow] = shown.flows()
        assert flow["comment"].startswith("The WebSocket carried 9 bytes up and 0 bytes down in ")
        # A tunnel that was open before the inspection is shown when it ends.
        early.close()
        wait_for(lambda: len(shown.paths()), 2)
        assert b"hush" not in b"".join(fields[b"flow"] for _, fields in redis.xrange(FLOWS))  # type: ignore[union-attr]
    proxy.stop()
    recorder.close()


def of_tunnel(watch: CaptureObserver, request_id: str, *, is_over: bool) -> dict[bytes, bytes]:
    """Return the stream's entry of a tunnel."""
    exchange = ended_exchange(b"/ws", status=101)
    exchange.request_id, exchange.tunnel = request_id, True
    if not is_over:
        exchange.ended = 0.0
    written = watch._publisher._encode(exchange, Recording(watch, 10))
    assert written is not None
    return {b"flow": written}


def test_a_tunnel_that_was_cleared_is_shown_again_at_its_end_and_evicted_in_order(watch: CaptureObserver) -> None:
    view = View()
    with taddons.context(view):
        feed = FlowFeed(AsyncRedis.from_url("redis://127.0.0.1:1"), view, Rules(viewer_flows=2))
        feed._show(of_tunnel(watch, "a-1", is_over=False))
        view.clear()
        for request_id in ("a-1", "b-1", "b-1"):
            feed._show(of_tunnel(watch, request_id, is_over=True))
        assert [flow.id for flow in view] == ["a-1", "b-1"]
        feed._show(of_tunnel(watch, "c-1", is_over=True))
        assert [flow.id for flow in view] == ["b-1", "c-1"]
        assert view.store_count() == 2


def test_open_tunnels_do_not_count_as_recordings(watch: CaptureObserver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_CONCURRENT_RECORDINGS", 1)
    watch.set([ActiveInspection(InspectionTarget.EVERYTHING, None, LATER)])
    tunnel = ended_exchange(status=101)
    recording = watch.begin(tunnel)
    assert recording is not None
    watch.opened(tunnel, recording)
    assert watch.begin(ended_exchange()) is not None
    watch.end(tunnel, recording)
    assert watch.begin(ended_exchange()) is None
    assert len(watch._publisher._queue) == 2


def threads_of(proxy: Proxy) -> int:
    [worker] = proxy.workers
    return len(list(Path(f"/proc/{worker.pid}/task").iterdir()))


def test_the_viewer_requires_its_password_and_allows_no_changes(
    environment: dict[str, str], settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    variables = proxy_environment(settings, environment["REDIS_URL"], "http://127.0.0.1:1", free_port())
    with viewer(variables, tmp_path) as shown:
        assert shown.ask("/flows", password="wrong").status == 403
        assert shown.ask("/flows", password="").status == 403
        assert shown.ask("/flows", Host="evil.example").status == 403
        assert shown.ask("/flows", Host=f"localhost:{shown.port}").status == 200
        as_json = {"Content-Type": "application/json"}
        for method, path in (("PUT", "/options"), ("POST", "/options/save"), ("POST", "/commands/replay.client")):
            assert shown.ask(path, method, body=b'{"scripts": ["/tmp/x.py"]}', **as_json).status == 403
        for path in ("/processes", "/executable-icon"):
            assert shown.ask(path).status == 403
        options = shown.ask("/options").body.decode()
        assert shown.password not in options
        assert json.loads(options)["web_host"]["value"] == "127.0.0.1"
        # No other listener, and no secret in the command line, which every user of the machine can read.
        assert json.loads(shown.ask("/state").body)["servers"] == {}
        assert shown.password not in Path(f"/proc/{shown.process.pid}/cmdline").read_text()
        assert listeners(shown.port) == 1
