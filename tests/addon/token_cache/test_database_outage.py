"""With PostgreSQL out of reach, a token passes for `[proxy] grace_seconds` after it was last proven good.

The rule: a worker trusts nothing that it cannot prove, beyond the lease of its cache and the grace. It may be cut off
alone, and when it is the only worker nobody invalidates what Redis holds.
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
    """A gate that has shared a token in Redis, and is then cut off from PostgreSQL; its own cache holds nothing."""

    def __init__(self, gated: Gated, redis: Redis, environment: dict[str, str]) -> None:
        self.gated, self.redis, self.environment = gated, redis, environment
        self.now = time.monotonic()
        self.grace = gated.settings.proxy.grace_seconds
        self.memory_tier = MemoryTier(100)
        self.owned = sell(gated.factory, gated.settings, "buyer")

    def run[T](self, call: Callable[[Gate], Awaitable[T]]) -> T:
        """Run a call on the gate whose database is out of reach."""
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
        """Let a worker have stored the token in Redis some time ago."""

        async def main(connection: AsyncRedis) -> None:
            found = await self.gated.database.find(self.owned.token.secret_hash)
            assert found is not None
            await RedisTier(connection).put(self.owned.token.secret_hash, found)

        with_redis(self.environment, main)
        [key] = self.redis.keys("zenzefi:token:*")
        self.redis.hset(key, "at", time.time() - seconds_ago)

    def listened(self, *, until_seconds_ago: float, since_seconds_ago: float) -> None:
        """Let this worker have heard every change during a time."""
        self.memory_tier.connected(self.now - until_seconds_ago)
        self.memory_tier.connected_since = time.time() - since_seconds_ago

    def decide(self) -> TokenAdmission | Refuse:
        return self.run(lambda gate: gate.decide(attributes(self.owned.secret)))


@pytest.fixture
def outage(gated: Gated, redis: Redis, environment: dict[str, str]) -> Outage:
    return Outage(gated, redis, environment)


def test_a_lone_worker_that_is_cut_off_trusts_redis_no_longer_than_the_grace(outage: Outage) -> None:
    outage.share(seconds_ago=outage.grace + 40)
    outage.listened(until_seconds_ago=outage.grace + 1, since_seconds_ago=3600)
    owned, settings = outage.owned, outage.gated.settings
    with outage.gated.factory.begin() as session:
        revocation.revoke(session, owned.user, owned.token.id, settings=settings, actor=PLATFORM)
    decision = outage.decide()
    assert isinstance(decision, Refuse)
    assert decision.code == "unavailable"


def test_what_was_shared_while_this_worker_heard_every_change_passes_for_the_grace(outage: Outage) -> None:
    outage.share(seconds_ago=outage.grace + 40)
    outage.listened(until_seconds_ago=outage.grace - 1, since_seconds_ago=3600)
    assert isinstance(outage.decide(), TokenAdmission)


def test_what_was_shared_before_this_worker_listened_is_not_proven(outage: Outage) -> None:
    outage.share(seconds_ago=outage.grace + 40)
    outage.listened(until_seconds_ago=1, since_seconds_ago=10)
    assert isinstance(outage.decide(), Refuse)


def test_a_worker_that_started_in_the_outage_takes_what_was_shared_within_the_grace(outage: Outage) -> None:
    outage.share(seconds_ago=outage.grace - CLOCK_SKEW_SECONDS - 1)
    assert isinstance(outage.decide(), TokenAdmission)
    outage.share(seconds_ago=outage.grace)
    assert isinstance(outage.decide(), Refuse)
