"""Router of the own addresses: which requests the gateway answers itself, and with which status."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from addon.admission.identification import TokenIdentifier
from addon.admission.request_attributes import AttributeReader
from addon.browser_access.endpoint import BrowserAccessEndpoint, ConfirmationRequest
from addon.http1.decisions import Defer, Local, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.limits import Limits
from addon.http1.messages.head_parser import parse_request
from addon.http1.policy_interface import Question
from addon.http1.upstream import Upstream
from addon.own_addresses.health import Health
from addon.own_addresses.json_answers import token_status
from addon.own_addresses.router import MetricsRequest, OwnAddresses, StatusRequest
from addon.recording.counters import Counters
from addon.recording.metrics import GatewayMetrics, WorkerGauges
from addon.token_cache.database import TokenDatabase
from addon.token_cache.memory_tier import MemoryTier
from addon.upstream_health.status import UpstreamStatus
from models import clock
from models.config.settings import Settings
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from tests.addon.conftest import make_lookup
from tests.addon.exchanges import make_snapshot

CLIENT, OPERATOR = Peer("203.0.113.9", "http"), Peer("127.0.0.1", "http")


class Router:
    """A router on a cache in memory, without a database or Redis."""

    def __init__(
        self, settings: Settings, database: TokenDatabase, *, has_compatibility_addresses: bool = True
    ) -> None:
        redis = Redis.from_url("redis://127.0.0.1:1")
        self.settings = settings
        self.memory_tier = MemoryTier(10)
        self.memory_tier.connected()
        lookup = make_lookup(settings, database, self.memory_tier)
        browser_access = BrowserAccessEndpoint(settings, database)
        upstream = Upstream((("127.0.0.1", 1),), b"upstream.test")
        gauges = WorkerGauges(0, 0, 0, 0, 0)
        self.addresses = OwnAddresses(
            AttributeReader(settings.tokens, browser_access.cookie),
            TokenIdentifier(settings.tokens, lookup),
            lookup,
            health=Health(settings, database, UpstreamStatus(settings, redis, database, upstream)),
            metrics=GatewayMetrics(settings, redis, Counters(), lambda: gauges),
            browser_access=browser_access,
            has_compatibility_addresses=has_compatibility_addresses,
        )

    def answer(
        self, path: str, *, method: str = "GET", peer: Peer = CLIENT, secret: str = ""
    ) -> Local | Refuse | Defer | None:
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n" + (f"X-Access-Token: {secret}\r\n" if secret else "")
        found = self.addresses.answer(parse_request(f"{head}\r\n".encode(), Limits()), peer)
        assert found is None or isinstance(found, Local | Refuse | Defer)
        return found

    def status(self, path: str, *, method: str = "GET") -> int | None:
        """Return the status of the answer, None for a request that is forwarded."""
        found = self.answer(path, method=method)
        return found.status if isinstance(found, Local | Refuse) else None


@pytest.fixture
def database(settings: Settings) -> Iterator[TokenDatabase]:
    database = TokenDatabase(settings)
    yield database
    database.close()


@pytest.fixture
def router(settings: Settings, database: TokenDatabase) -> Router:
    return Router(settings, database)


@pytest.mark.parametrize("path", ["/", "/healthy", "/api/v1/proxy/x", "/live", "/x/_zenzefi/health", "/status"])
def test_other_addresses_belong_to_the_upstream(router: Router, path: str) -> None:
    assert router.answer(path) is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/health", "/_zenzefi/health", "/_zenzefi/live", "/_zenzefi/ready"])
def test_health_liveness_and_readiness_need_no_token(router: Router, path: str, method: str) -> None:
    assert router.status(path, method=method) == 200


@pytest.mark.parametrize("path", ["/_zenzefi", "/_zenzefi/", "/_zenzefi/x", "//_zenzefi/live", "/%5fzenzefi/live"])
def test_nothing_else_below_the_reserved_segment_is_forwarded(router: Router, path: str) -> None:
    assert router.status(path) == 404


def test_own_addresses_are_read_only_except_the_login(router: Router) -> None:
    for path in ("/_zenzefi/health", "/_zenzefi/status", "/_zenzefi/live", "/_zenzefi/ready", "/_zenzefi/metrics"):
        assert router.status(path, method="POST") == 404
    assert router.status("/_zenzefi/enter", method="PUT") == 404
    # The compatibility addresses are the upstream's for any other method.
    assert router.answer("/health", method="POST") is None


def test_compatibility_addresses_can_be_turned_off(settings: Settings, database: TokenDatabase) -> None:
    router = Router(settings, database, has_compatibility_addresses=False)
    assert router.answer("/health") is None
    assert router.answer("/api/v1/proxy/status") is None
    assert router.status("/_zenzefi/health") == 200


def test_a_worker_is_not_ready_without_a_cache_lease_or_while_draining(router: Router) -> None:
    router.addresses.is_draining = True
    assert router.status("/_zenzefi/ready") == 503
    router.addresses.is_draining = False
    router.memory_tier.disconnected(0.0, 0.0)
    assert router.status("/_zenzefi/ready") == 503
    assert router.status("/_zenzefi/live") == 200


def test_metrics_exist_for_the_ops_network_only(router: Router) -> None:
    assert router.answer("/_zenzefi/metrics", peer=OPERATOR) == Defer(policy_data=MetricsRequest())
    assert router.status("/_zenzefi/metrics") == 404


def test_the_login_link_shows_the_confirmation_page(router: Router) -> None:
    assert router.answer("/_zenzefi/enter?ticket=x") == Defer(policy_data=ConfirmationRequest("x"))


def test_the_status_of_a_cached_token_is_answered_from_memory(router: Router) -> None:
    assert router.status("/_zenzefi/status") == 401
    secret = secrets.new_secret(router.settings.tokens)
    deferred = router.answer("/_zenzefi/status", secret=secret)
    assert isinstance(deferred, Defer)
    assert isinstance(deferred.policy_data, StatusRequest)
    secret_hash = secrets.hash_of(router.settings.tokens, secret, Purpose.TOKEN)
    snapshot = make_snapshot()
    paused = replace(snapshot, paused_until=clock.now() + timedelta(minutes=5), version=2)
    for version, state in ((snapshot, "active"), (paused, "paused")):
        router.memory_tier.put(secret_hash, version, invalidations_before=router.memory_tier.invalidations)
        for path in ("/_zenzefi/status", "/api/v1/proxy/status"):
            answer = router.answer(path, secret=secret)
            assert isinstance(answer, Local)
            assert json.loads(answer.body)["status"] == state
    router.memory_tier.put(
        secret_hash, replace(paused, is_revoked=True, version=3), invalidations_before=router.memory_tier.invalidations
    )
    refused = router.answer("/_zenzefi/status", secret=secret)
    assert isinstance(refused, Refuse)
    assert refused.code == "token_revoked"


def test_the_status_has_the_remaining_time_of_each_state() -> None:
    moment = clock.now()
    snapshot = replace(make_snapshot(), expires_at=moment + timedelta(seconds=90))
    unused = replace(snapshot, is_activated=False, expires_at=None, seconds_left=None)
    paused = replace(snapshot, paused_until=moment + timedelta(hours=1), expires_at=None, seconds_left=1200)
    expected = [("active", 90), ("ready", None), ("paused", 1200)]
    for each, (state, seconds_left) in zip((snapshot, unused, paused), expected, strict=True):
        found = json.loads(token_status(each, moment).body)
        assert (found["status"], found["time_remaining_seconds"]) == (state, seconds_left)
        assert (found["expires_at"] is not None) == (state == "active")


def test_a_deferred_request_of_another_part_is_an_error(router: Router) -> None:
    request = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Limits())
    question = Question(Exchange("0-1", 0.0), request, CLIENT, policy_data=object())
    with pytest.raises(TypeError, match="no own address"):
        asyncio.run(router.addresses.answer_slow(question))
