"""Token cache in Redis, shared by all workers.

Entries and tombstones carry the row's version. An older one never replaces a newer one; a tombstone makes room for an
entry of its own version, because that one was read after the change. A worker believes entries that were stored while
it heard notices and since Redis last failed it: a change since then has left a tombstone, or has one on its way. While
PostgreSQL is down for it, it believes those, and what was stored last, for the grace only (gate.py).
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from addon.recording.counters import Counters
from models.services.gateway.token_lookup import TokenSnapshot

logger = logging.getLogger(__name__)

ENTRY_SECONDS = 300
# A tombstone outlives every entry that was read before it.
MARKER_SECONDS = 2 * ENTRY_SECONDS
# After a failure Redis is left alone for so long, so that nobody waits for it.
BACKOFF_SECONDS = 1.0

_PUT = """
local present = redis.call('HGET', KEYS[1], 'version')
if present and tonumber(present) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'entry', ARGV[2], 'at', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""
_SNAPSHOT = TypeAdapter(TokenSnapshot)
# How far the clocks of two machines may differ.
CLOCK_SKEW_SECONDS = 2.0


class RedisTier:
    """The workers' common memory. Every failure reads as `unknown`: the next tier decides."""

    def __init__(
        self, redis: Redis, monotonic: Callable[[], float] = time.monotonic, *, counters: Counters | None = None
    ) -> None:
        self._redis = redis
        self._counters = counters or Counters()
        self._monotonic = monotonic
        self._put = redis.register_script(_PUT)
        self._backoff_until = float("-inf")
        # Wall-clock time of the last failure: a tombstone may have been lost in it.
        self._failed_at = float("-inf")
        # How many tombstones are on their way to each hash.
        self._pending_markers: Counter[bytes] = Counter()

    async def get(self, secret_hash: bytes, *, stored_since: float) -> TokenSnapshot | None:
        """Return an entry that was stored after a wall-clock time; None for a tombstone or when Redis is silent."""
        if self._monotonic() < self._backoff_until or secret_hash in self._pending_markers:
            return None
        try:
            with self._counters.timed("redis", "token_get"):
                entry, at = await self._redis.hmget(_key(secret_hash), ["entry", "at"])
        except (RedisError, OSError) as error:
            self._back_off(error)
            return None
        if not entry or float(at or 0) < max(stored_since, self._failed_at) + CLOCK_SKEW_SECONDS:
            return None
        try:
            return _SNAPSHOT.validate_json(entry)
        except ValidationError:
            return None  # Another version of this program wrote it.

    async def has_newer(self, secret_hash: bytes, version: int) -> bool:
        """Say whether a change after `version` is on record; a silent Redis has none."""
        if self._monotonic() < self._backoff_until:
            return False
        try:
            present = await self._redis.hget(_key(secret_hash), "version")
        except (RedisError, OSError) as error:
            self._back_off(error)
            return False
        return present is not None and int(present) > version

    async def put(self, secret_hash: bytes, snapshot: TokenSnapshot) -> None:
        """Share what was read from the database."""
        await self._store(secret_hash, snapshot.version, _SNAPSHOT.dump_json(snapshot), ENTRY_SECONDS)

    def mark_invalidated(self, secret_hash: bytes, version: int) -> asyncio.Task[None]:
        """Leave a tombstone for everything older than `version`; from now on, not only from when it is there."""
        self._pending_markers[secret_hash] += 1
        return asyncio.get_running_loop().create_task(self._mark_invalidated(secret_hash, version))

    async def _mark_invalidated(self, secret_hash: bytes, version: int) -> None:
        try:
            await self._store(secret_hash, version, b"", MARKER_SECONDS)
        finally:
            self._pending_markers[secret_hash] -= 1
            if not self._pending_markers[secret_hash]:
                del self._pending_markers[secret_hash]

    async def _store(self, secret_hash: bytes, version: int, entry: bytes, seconds: int) -> None:
        if self._monotonic() < self._backoff_until:
            self._failed_at = time.time()
            return
        try:
            with self._counters.timed("redis", "token_put" if entry else "token_bury"):
                await self._put(keys=[_key(secret_hash)], args=[version, entry, time.time(), seconds])
        except (RedisError, OSError) as error:
            self._back_off(error)

    def _back_off(self, error: Exception) -> None:
        logger.warning("Redis does not answer: %s", type(error).__name__)
        self._backoff_until = self._monotonic() + BACKOFF_SECONDS
        self._failed_at = time.time()


def _key(secret_hash: bytes) -> str:
    return f"zenzefi:token:{secret_hash.hex()}"
