"""Recent requests and refusals of a token: bounded, masked, and never delaying a request."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from addon.recording import recent_requests as recording_recent_requests
from addon.recording.access_log_format import MASKED
from addon.recording.counters import Counters
from addon.recording.recent_requests import RecentRequests
from models.config.settings import Settings
from models.database import Sessions
from models.services.actor import PLATFORM
from models.services.gateway import recent_requests
from models.services.gateway.recent_requests import RecentRequest
from models.services.monitoring import failed_requests
from models.services.tokens import pause as token_pause
from tests.addon.conftest import sell
from tests.addon.exchanges import ended_exchange, make_snapshot
from tests.addon.processes import Proxy
from tests.addon.test_worker import wait_for

SECRET = "Ab-_" * 16
EVER = datetime.min.replace(tzinfo=UTC)


def seen(redis: SyncRedis, key: str) -> list[RecentRequest]:
    return recent_requests.decode(redis.lrange(key, 0, -1), since=EVER)  # type: ignore[arg-type]


def flushed(address: str, *trails: RecentRequests) -> None:
    """Flush with a connection of this loop."""

    async def flush() -> None:
        connection = Redis.from_url(address)
        for one in trails:
            one._redis = connection
            await one.flush()
        await connection.aclose()

    asyncio.run(flush())


@pytest.fixture
def address(environment: dict[str, str], redis: SyncRedis) -> str:
    """An empty Redis."""
    return environment["REDIS_URL"]


def made(counters: Counters | None = None) -> RecentRequests:
    return RecentRequests(Redis.from_url("redis://127.0.0.1:1"), counters or Counters())


def test_the_last_requests_are_kept_newest_first_and_the_refusals_longer(address: str, redis: SyncRedis) -> None:
    whose, ours = make_snapshot(), made()
    ours.add(ended_exchange(status=403, code="scope_denied"), whose)
    for number in range(60):
        ours.add(ended_exchange(f"/n/{number}".encode()), whose)
    flushed(address, ours)
    ours.add(ended_exchange(b"/late"), whose)
    flushed(address, ours)
    requests = seen(redis, recent_requests.requests_key(whose.token_id))
    assert [entry.path for entry in requests[:3]] == ["/late", "/n/59", "/n/58"]
    assert len(requests) == recent_requests.REQUESTS_KEPT
    [refusal] = seen(redis, recent_requests.refusals_key(whose.token_id))
    assert (refusal.code, refusal.status, refusal.is_refusal) == ("scope_denied", 403, True)
    assert (refusal.method, refusal.bytes_in, refusal.bytes_out, refusal.milliseconds) == ("GET", 7, 1000, 20.0)
    assert 0 < redis.ttl(recent_requests.requests_key(whose.token_id)) <= recent_requests.REQUESTS_SECONDS  # type: ignore[operator]


def test_secrets_and_queries_are_not_kept(address: str, redis: SyncRedis) -> None:
    whose, ours = make_snapshot(), made()
    ours.add(ended_exchange(f"/{SECRET}/x".encode()), whose)
    flushed(address, ours)
    raw = b"".join(redis.lrange(recent_requests.requests_key(whose.token_id), 0, -1))  # type: ignore[arg-type]
    assert SECRET.encode() not in raw
    assert b"query" not in raw
    assert MASKED.encode() in raw


def test_failed_requests_are_kept_by_request_id_and_bounded(address: str, redis: SyncRedis) -> None:
    whose, ours = make_snapshot(), made()
    for number in range(recording_recent_requests.FAILED_PER_FLUSH + 5):
        refused = ended_exchange(f"/{SECRET}/{number}".encode(), status=401, code="token_invalid")
        refused.request_id = f"worker-id-{number}"
        ours.add_failed(refused, whose if number % 2 else None)
    ours.add_failed(ended_exchange(), whose)
    flushed(address, ours)
    kept = {
        name.decode(): failed_requests.decode(line) for name, line in redis.hgetall(failed_requests.ASKED_KEY).items()
    }  # type: ignore[union-attr]
    assert set(kept) == {f"worker-id-{number}" for number in range(5, recording_recent_requests.FAILED_PER_FLUSH + 5)}
    one, other = kept["worker-id-7"], kept["worker-id-8"]
    assert one is not None
    assert other is not None
    assert (one.side, one.method, one.path, one.status, one.code) == (
        "proxy",
        "GET",
        f"/{MASKED}/7",
        401,
        "token_invalid",
    )
    assert (one.user_id, other.user_id, one.address) == (str(whose.user_id), None, "203.0.113.9")


def test_records_are_dropped_with_too_many_tokens_or_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_recent_requests, "MAX_TOKENS", 2)
    counters = Counters()
    ours = made(counters)
    for _ in range(5):
        ours.add(ended_exchange(), replace(make_snapshot(), token_id=uuid.uuid4()))
    assert counters.take()["trail_dropped",] == 3
    asyncio.run(ours.flush())  # nothing listens at that address
    assert not ours._requests


def test_entries_of_another_version_are_left_out() -> None:
    good = recent_requests.encode(1.0, "GET", "/", (200, 1, 2, 3.0), "")
    lines = [b"{}", b"[1]", b"nonsense", b"[null,1,1,1,1,1,1,1]", good.encode()]
    assert [entry.path for entry in recent_requests.decode(lines, since=EVER)] == ["/"]


def test_a_worker_records_admitted_requests_and_the_reasons_of_refusals(
    proxy: Proxy, committed: tuple[Settings, Sessions], redis: SyncRedis
) -> None:
    settings, factory = committed
    owned = sell(factory, settings, "buyer", scope="certificates_only")
    token_id = owned.token.id
    assert proxy.get("/certificates/filter?secret=1", owned.secret).status == 200
    assert proxy.get("/users/currentUser", owned.secret).status == 403
    assert proxy.get("/", owned.secret, X_Device_ID="short").status == 400
    with factory.begin() as session:
        token_pause.pause(session, owned.user, token_id, settings=settings, actor=PLATFORM)
    wait_for(lambda: proxy.get("/certificates/filter", owned.secret).status, 403)
    wait_for(
        lambda: {(entry.path, entry.code) for entry in seen(redis, recent_requests.refusals_key(token_id))},
        {("/users/currentUser", "scope_denied"), ("/", "device_invalid"), ("/certificates/filter", "token_paused")},
    )
    paths = [(entry.path, entry.status) for entry in seen(redis, recent_requests.requests_key(token_id))]
    assert paths[-1] == ("/certificates/filter", 200)
