"""Token look-up through the cache tiers: memory, Redis, then PostgreSQL; and what is valid while PostgreSQL is down."""

import time
from collections.abc import Callable

from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from addon.token_cache.memory_tier import MemoryTier
from addon.token_cache.redis_tier import RedisTier
from models.services.crypto.secrets import Purpose
from models.services.gateway.token_lookup import TokenSnapshot

# How long a genuine secret without a token is cached as negative; a made-up one fails its MAC before any look-up.
NEGATIVE_SECONDS = 5.0
NEGATIVE_ENTRIES = 10_000


class TokenLookup:
    """Finds tokens by the hash of a secret. Used on the event loop only."""

    def __init__(
        self,
        memory_tier: MemoryTier,
        redis_tier: RedisTier,
        database: TokenDatabase,
        *,
        grace_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory_tier = memory_tier
        self._redis_tier = redis_tier
        self._database = database
        self._grace_seconds = grace_seconds
        self._monotonic = monotonic
        self._negative: dict[bytes, float] = {}

    @property
    def is_leased(self) -> bool:
        """Whether the cache lease holds, so that cached tokens may be used without asking PostgreSQL."""
        return self._monotonic() < self._memory_tier.leased_until

    def find_in_memory(self, secret_hash: bytes) -> TokenSnapshot | None:
        """Return the cached token, None without one or when the cache lease has ended."""
        snapshot = self._memory_tier.get(secret_hash)
        return None if snapshot is None or self._monotonic() >= self._memory_tier.leased_until else snapshot

    async def find(self, secret_hash: bytes, purpose: Purpose) -> tuple[TokenSnapshot | None, str]:
        """Ask Redis, then PostgreSQL; a secret without a token is cached as negative for some seconds.

        Returns the token and the tier that answered. Raises DatabaseUnavailable.
        """
        if self._monotonic() < self._negative.get(secret_hash, 0):
            return None, "negative"
        # Invalidation markers in Redis are set by the hash of the token's secret, so cookies are not cached there.
        is_shared = purpose is Purpose.TOKEN
        invalidations = self._memory_tier.invalidations
        if is_shared and self.is_leased:
            snapshot = await self._redis_tier.get(secret_hash, stored_since=self._memory_tier.connected_since)
            if snapshot is not None:
                self._memory_tier.put(secret_hash, snapshot, invalidations_before=invalidations)
                return snapshot, "redis"
        find = self._database.find if is_shared else self._database.find_by_cookie
        try:
            snapshot = await find(secret_hash)
        except DatabaseUnavailable:
            return await self._find_without_database(secret_hash, is_shared=is_shared)
        if snapshot is None:
            self._cache_negative(secret_hash)
            return None, "negative"
        is_current = self._memory_tier.put(secret_hash, snapshot, invalidations_before=invalidations)
        if is_current and is_shared and self.is_leased:
            await self._redis_tier.put(secret_hash, snapshot)
        return snapshot, "database"

    async def _find_without_database(self, secret_hash: bytes, *, is_shared: bool) -> tuple[TokenSnapshot, str]:
        """Return what was proven valid within the stale-if-error period (`[proxy] grace_seconds`).

        PostgreSQL may be down for this worker alone, which then receives no invalidation; and when no other worker
        runs, nobody sets an invalidation marker in Redis. So an entry of Redis is valid as long as our own cache would
        be, if it was stored while this worker received all invalidations, or for the period after it was stored: the
        worker that stored it had just read it.
        """
        is_within_grace = self._monotonic() < self._memory_tier.leased_until + self._grace_seconds
        if is_shared:
            proven_since = time.time() - self._grace_seconds
            if is_within_grace:
                proven_since = min(proven_since, self._memory_tier.connected_since)
            snapshot = await self._redis_tier.get(secret_hash, stored_since=proven_since)
            if snapshot is not None:
                return snapshot, "redis"
        snapshot = self._memory_tier.get(secret_hash)
        if snapshot is None or not is_within_grace:
            raise DatabaseUnavailable("the token is not cached, or its proof is too old")
        if is_shared and await self._redis_tier.has_newer(secret_hash, snapshot.version):
            raise DatabaseUnavailable("the token has changed since it was last read")
        return snapshot, "memory"

    def _cache_negative(self, secret_hash: bytes) -> None:
        self._negative[secret_hash] = self._monotonic() + NEGATIVE_SECONDS
        if len(self._negative) > NEGATIVE_ENTRIES:
            del self._negative[next(iter(self._negative))]
