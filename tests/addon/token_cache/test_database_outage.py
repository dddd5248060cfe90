"""While PostgreSQL is unreachable, a token is valid for `[proxy] grace_seconds` after it was last proven valid.

The rule: beyond the cache lease and the stale-if-error period, a worker uses no token that it cannot prove. PostgreSQL
may be unreachable for it alone, and when it is the only worker, nothing invalidates the entries in Redis.
"""

import time
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from addon.admission.gate import Gate
from addon.admission.token_admission import TokenAdmission
from addon.http1.decisions import Refuse
from addon.token_cache.database import TokenDatabase
from addon.token_cache.memory_tier import MemoryTier
from addon.token_cache.redis_tier import CLOCK_SKEW_SECONDS, RedisTier
from models.services.actor import PLATFORM
from models.services.tokens import revocation
from tests.addon.conftest import Gated, attributes, make_gate, sell
from tests.addon.token_cache.test_redis_tier import with_redis


class Outage:
    """A gate without PostgreSQL and with an empty cache in memory; a token is cached in Redis."""

    def __init__(self, gated: Gated, redis: Redis, environment: dict[str, str]) -> None:
        self.gated, self.redis, self.environment = gated, redis, environment
        self.now = time.monotonic()
        self.grace = gated.settings.proxy.grace_seconds
        self.memory_tier = MemoryTier(100)
        self.owned = sell(gated.factory, gated.settings, "buyer")

    def run[T](self, call: Callable[[Gate], Awaitable[T]]) -> T:
        """Run a call on the gate whose database is unreachable."""
        dead = self.gated.settings.database.model_copy(update={"url": "postgresql+psycopg2://nobody@127.0.0.1:1/none"})
        database = TokenDatabase(self.gated.settings.model_copy(update={"database": dead}))

        async def main(connection: AsyncRedis) -> T:
            redis_tier = RedisTier(connection)
            gate = make_gate(
                self.gated.settings, database, self.memory_tier, monotonic=lambda: self.now, redis_tier=redis_tier
            )
            return await call(gate)

        try:
            return with_redis(self.environment, main)
        finally:
            database.close()

    def share(self, *, seconds_ago: float) -> None:
        """Store the token in Redis, as a worker did some time ago."""

        async def main(connection: AsyncRedis) -> None:
            found = await self.gated.database.find(self.owned.token.secret_hash)
            assert found is not None
            await RedisTier(connection).put(self.owned.token.secret_hash, found)

        with_redis(self.environment, main)
        [key] = self.redis.keys("zenzefi:token:*")
        self.redis.hset(key, "at", time.time() - seconds_ago)

    def listened(self, *, until_seconds_ago: float, since_seconds_ago: float) -> None:
        """Let this worker have received every invalidation during a time."""
        self.memory_tier.connected(self.now - until_seconds_ago)
        self.memory_tier.connected_since = time.time() - since_seconds_ago

    def decide(self) -> TokenAdmission | Refuse:
        return self.run(lambda gate: gate.decide(attributes(self.owned.secret)))


@pytest.fixture
def outage(gated: Gated, redis: Redis, environment: dict[str, str]) -> Outage:
    return Outage(gated, redis, environment)


def test_a_single_worker_without_postgresql_uses_redis_no_longer_than_the_grace(outage: Outage) -> None:
    outage.share(seconds_ago=outage.grace + 40)
    outage.listened(until_seconds_ago=outage.grace + 1, since_seconds_ago=3600)
    owned, settings = outage.owned, outage.gated.settings
    with outage.gated.factory.begin() as session:
        revocation.revoke(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)
    decision = outage.decide()
    assert isinstance(decision, Refuse)
    assert decision.code == "unavailable"


def test_an_entry_stored_while_all_invalidations_were_received_is_valid_for_the_grace(outage: Outage) -> None:
    outage.share(seconds_ago=outage.grace + 40)
    outage.listened(until_seconds_ago=outage.grace - 1, since_seconds_ago=3600)
    assert isinstance(outage.decide(), TokenAdmission)


def test_an_entry_stored_before_this_worker_was_connected_is_not_valid(outage: Outage) -> None:
    outage.share(seconds_ago=outage.grace + 40)
    outage.listened(until_seconds_ago=1, since_seconds_ago=10)
    assert isinstance(outage.decide(), Refuse)


def test_a_worker_that_started_in_the_outage_uses_entries_stored_within_the_grace(outage: Outage) -> None:
    outage.share(seconds_ago=outage.grace - CLOCK_SKEW_SECONDS - 1)
    assert isinstance(outage.decide(), TokenAdmission)
    outage.share(seconds_ago=outage.grace)
    assert isinstance(outage.decide(), Refuse)
