"""Token cache in Redis, shared by all workers.

Entries and invalidation markers carry the row's version. An older one never replaces a newer one; a marker is replaced
by an entry of its own version, because that entry was read after the change. A worker uses entries that were stored
while it received invalidations and after its last failure of Redis: any change since then has set a marker, or one is
pending. For entries while PostgreSQL is down, see lookup.py.
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
# A marker outlives every entry that was read before it.
MARKER_SECONDS = 2 * ENTRY_SECONDS
# After a failure, Redis is not asked for this long, so that no request waits for a timeout.
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
    """The workers' shared cache. Every failure is a cache miss: the next tier decides."""

    def __init__(
        self, redis: Redis, monotonic: Callable[[], float] = time.monotonic, *, counters: Counters | None = None
    ) -> None:
        self._redis = redis
        self._counters = counters or Counters()
        self._monotonic = monotonic
        self._put = redis.register_script(_PUT)
        self._backoff_until = float("-inf")
        # Wall-clock time of the last failure: a marker may have been lost in it.
        self._failed_at = float("-inf")
        # Number of markers being written, per hash.
        self._pending_markers: Counter[bytes] = Counter()

    async def get(self, secret_hash: bytes, *, stored_since: float) -> TokenSnapshot | None:
        """Return an entry that was stored after a wall-clock time; None for a marker or when Redis fails."""
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
            return None  # Written by another version of this program.

    async def has_newer(self, secret_hash: bytes, version: int) -> bool:
        """Return whether Redis has an entry or marker newer than `version`; False when Redis fails."""
        if self._monotonic() < self._backoff_until:
            return False
        try:
            present = await self._redis.hget(_key(secret_hash), "version")
        except (RedisError, OSError) as error:
            self._back_off(error)
            return False
        return present is not None and int(present) > version

    async def put(self, secret_hash: bytes, snapshot: TokenSnapshot) -> None:
        """Store a snapshot that was read from the database."""
        await self._store(secret_hash, snapshot.version, _SNAPSHOT.dump_json(snapshot), ENTRY_SECONDS)

    def mark_invalidated(self, secret_hash: bytes, version: int) -> asyncio.Task[None]:
        """Set an invalidation marker for everything older than `version`; it has effect here before it is written."""
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
        logger.warning("Redis does not answer and is skipped for %g s: %s", BACKOFF_SECONDS, type(error).__name__)
        self._backoff_until = self._monotonic() + BACKOFF_SECONDS
        self._failed_at = time.time()


def _key(secret_hash: bytes) -> str:
    return f"zenzefi:token:{secret_hash.hex()}"
