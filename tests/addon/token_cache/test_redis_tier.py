"""The shared token cache in Redis: an invalidated token is never found in it again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from addon.admission.gate import Gate
from addon.admission.token_admission import TokenAdmission
from addon.http1.decisions import Refuse
from addon.token_cache.redis_tier import BACKOFF_SECONDS, CLOCK_SKEW_SECONDS, RedisTier
from models.services.actor import PLATFORM
from models.services.tokens import revocation
from tests.addon.conftest import Gated, attributes, make_gate, sell
from tests.addon.token_cache.test_memory_tier import make

SECRET_HASH = b"h" * 32
ALWAYS = float("-inf")


class ManualTime:
    """A monotonic time that the test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def with_redis[T](environment: dict[str, str], call: Callable[[AsyncRedis], Awaitable[T]]) -> T:
    """Run a coroutine with a connection to Redis that has a short timeout."""

    async def main() -> T:
        async with AsyncRedis.from_url(environment["REDIS_URL"], socket_timeout=0.2) as connection:
            return await call(connection)

    return asyncio.run(main())


def test_an_older_entry_replaces_no_newer_entry_and_no_marker(redis: Redis, environment: dict[str, str]) -> None:
    async def call(connection: AsyncRedis) -> None:
        redis_tier, snapshot = RedisTier(connection), make(version=2)
        await redis_tier.put(SECRET_HASH, snapshot)
        await redis_tier.put(SECRET_HASH, replace(snapshot, version=1))
        assert await redis_tier.get(SECRET_HASH, stored_since=ALWAYS) == snapshot
        await redis_tier.mark_invalidated(SECRET_HASH, 3)
        await redis_tier.put(SECRET_HASH, snapshot)
        assert await redis_tier.get(SECRET_HASH, stored_since=ALWAYS) is None
        assert await redis_tier.has_newer(SECRET_HASH, 2)
        await redis_tier.put(SECRET_HASH, replace(snapshot, version=3))
        assert await redis_tier.get(SECRET_HASH, stored_since=ALWAYS) == replace(snapshot, version=3)

    with_redis(environment, call)


def test_an_entry_is_not_used_while_its_marker_is_pending(redis: Redis, environment: dict[str, str]) -> None:
    async def call(connection: AsyncRedis) -> None:
        redis_tier = RedisTier(connection)
        await redis_tier.put(SECRET_HASH, make(version=1))
        markers = [redis_tier.mark_invalidated(SECRET_HASH, version) for version in (2, 3)]
        assert await redis_tier.get(SECRET_HASH, stored_since=ALWAYS) is None
        await asyncio.gather(*markers)
        await redis_tier.put(SECRET_HASH, make(version=3))
        assert await redis_tier.get(SECRET_HASH, stored_since=ALWAYS) is not None

    with_redis(environment, call)


def test_older_entries_are_not_used_after_an_invalidation_marker_was_lost(
    redis: Redis, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call(connection: AsyncRedis) -> None:
        monotonic = ManualTime()
        redis_tier = RedisTier(connection, monotonic)
        await redis_tier.put(SECRET_HASH, make(version=1))
        # Redis rejects writes: the first marker fails, and the second is not tried during the back-off.
        redis.config_set("min-replicas-to-write", 1)
        try:
            await redis_tier.mark_invalidated(SECRET_HASH, 2)
            await redis_tier.mark_invalidated(SECRET_HASH, 3)
        finally:
            redis.config_set("min-replicas-to-write", 0)
        monotonic.now += BACKOFF_SECONDS
        assert await redis_tier.get(SECRET_HASH, stored_since=ALWAYS) is None
        later = time.time() + CLOCK_SKEW_SECONDS
        monkeypatch.setattr("addon.token_cache.redis_tier.time.time", lambda: later)
        await redis_tier.put(SECRET_HASH, make(version=3))
        assert await redis_tier.get(SECRET_HASH, stored_since=ALWAYS) is not None

    with_redis(environment, call)


def test_12_a_request_at_the_instant_of_a_revoke_does_not_bring_the_token_back(
    gated: Gated, redis: Redis, environment: dict[str, str]
) -> None:
    """The worker asks Redis before the invalidation marker is written, and must not cache the old entry."""
    owned = sell(gated.factory, gated.settings, "buyer")
    secret_hash = owned.token.secret_hash

    async def call(connection: AsyncRedis) -> None:
        redis_tier = RedisTier(connection)
        gate: Gate = make_gate(gated.settings, gated.database, gated.memory_tier, redis_tier=redis_tier)
        gated.memory_tier.connected_since = time.time() - CLOCK_SKEW_SECONDS
        assert isinstance(await gate.decide(attributes(owned.secret)), TokenAdmission)
        with gated.factory.begin() as session:
            revocation.revoke(session, owned.user, owned.token.id, settings=gated.settings, actor=PLATFORM)
        gated.memory_tier.invalidate(secret_hash, owned.token.id)
        marker = redis_tier.mark_invalidated(secret_hash, owned.token.version + 1)
        for _ in range(2):
            assert isinstance(await gate.decide(attributes(owned.secret)), Refuse)
            await marker

    with_redis(environment, call)
