"""The portal's health says what the proxy's prober has seen of the upstream."""

from redis import Redis

from models.config.settings import Settings
from models.services.gateway.outages import STATE_KEY, UpstreamState
from tests.portal.conftest import Browser


def test_health_is_degraded_while_the_upstream_is_out(anonymous: Browser, redis: Redis, settings: Settings) -> None:
    for is_up, status, word in ((False, "degraded", "down"), (True, "healthy", "up")):
        redis.set(STATE_KEY, UpstreamState(settings.upstream.url, is_up, {}).as_json())
        answer = anonymous.get("/health")
        assert answer.status_code == 200
        assert answer.json is not None
        assert (answer.json["status"], answer.json["checks"]["upstream"]) == (status, word)


def test_the_state_of_another_upstream_is_ignored(anonymous: Browser, redis: Redis) -> None:
    redis.set(STATE_KEY, UpstreamState("http://the-one-before.test", False, {}).as_json())
    answer = anonymous.get("/health")
    assert answer.json is not None
    assert (answer.json["status"], answer.json["checks"]["upstream"]) == ("healthy", "unknown")
