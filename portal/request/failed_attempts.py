"""Failed attempts, counted over a sliding hour in Redis, with waiting times that double.

An attempt is counted before it is checked and removed when it succeeds, so that concurrent attempts are all counted and
successes cost nothing. While Redis is down each process counts in its memory, with its share of the limit
(limit / processes, at least one).
"""

import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

from models import clock
from models.config.settings import Settings
from portal.request.rate_limits import Allowance

logger = logging.getLogger(__name__)

PREFIX = "zenzefi:failed:"
WINDOW_SECONDS = 3600
# The wait after the attempt that reached the limit; each further failure doubles it, up to the window.
FIRST_WAIT_SECONDS = 60
# More entries of one key change no waiting time, since the longest one is reached by then.
EXTRA_ENTRIES = 8
# Keys that one process keeps while Redis is down; the oldest are dropped, so that memory stays bounded.
MAX_KEYS = 10_000

# Atomic: attempts of several processes at the same instant must not all see the same count.
# KEYS: one sorted set (time, attempt) per limit. ARGV: now, window, first wait, kept, attempt; then amount, blocks and
# doubles ("1" or "0") of each key. Returns the waiting time of each key; nothing is counted when one that blocks is
# above zero.
_BEGIN = """
local now, window, first, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local waits, is_blocked = {}, false
for i, key in ipairs(KEYS) do
  local amount = tonumber(ARGV[3 + 3 * i])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  local count, wait = redis.call('ZCARD', key), 0
  if count >= amount then
    if ARGV[5 + 3 * i] == '1' then
      local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
      wait = last + math.min(window, first * 2 ^ (count - amount)) - now
    else
      wait = tonumber(redis.call('ZRANGE', key, count - amount, count - amount, 'WITHSCORES')[2]) + window - now
    end
  end
  if wait > 0 and ARGV[4 + 3 * i] == '1' then is_blocked = true end
  waits[i] = tostring(math.max(0, wait))
end
if not is_blocked then
  for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now, ARGV[5])
    redis.call('ZREMRANGEBYRANK', key, 0, -(tonumber(ARGV[3 + 3 * i]) + kept + 1))
    redis.call('EXPIRE', key, window)
  end
end
return waits
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """The failures allowed per hour under one name. With `blocks` an attempt that comes too early is not checked.

    With `doubles` the wait grows with each further failure; without, it ends when the oldest one is an hour old.
    """

    name: str
    amount: int
    blocks: bool = True
    doubles: bool = True


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt with its limits and the waiting time of each."""

    limits: Sequence[Limit]
    waits: Sequence[float]
    member: str

    @property
    def blocked_for(self) -> timedelta:
        """How long until an attempt is checked again; zero when this one is."""
        blocking = (wait for limit, wait in zip(self.limits, self.waits, strict=True) if limit.blocks)
        return timedelta(seconds=max(blocking, default=0.0))

    @property
    def longest_wait(self) -> timedelta:
        """The longest wait of all limits, those that do not block included."""
        return timedelta(seconds=max(self.waits, default=0.0))


class FailedAttempts:
    """The counts shared by all processes, with a fallback in memory while Redis is down."""

    def __init__(self, settings: Settings) -> None:
        self._redis = Redis.from_url(settings.redis.url, socket_timeout=1, socket_connect_timeout=1)
        self._begin = self._redis.register_script(_BEGIN)
        self._own = _InMemory(settings.portal.processes * settings.platform.machines)

    def begin(self, limits: Sequence[Limit]) -> Attempt:
        """Count an attempt under all limits, unless one of them blocks it (`Attempt.blocked_for`)."""
        member, now = uuid.uuid4().hex, clock.now().timestamp()
        own = [str(value) for limit in limits for value in (limit.amount, int(limit.blocks), int(limit.doubles))]
        shared = [repr(now), str(WINDOW_SECONDS), str(FIRST_WAIT_SECONDS), str(EXTRA_ENTRIES), member]
        try:
            waits = [float(wait) for wait in self._begin(keys=_keys(limits), args=[*shared, *own])]
        except RedisError:
            logger.warning("Redis is down: failed attempts are counted in this process's memory")
            waits = self._own.begin(limits, member, now)
        return Attempt(limits, waits, member)

    def forgive(self, attempt: Attempt, *, clear: Sequence[Limit] = ()) -> None:
        """Remove an attempt that did not fail from the counts, and reset those of `clear`."""
        self._own.forgive(attempt, clear)
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for key in _keys(attempt.limits):
                    pipe.zrem(key, attempt.member)
                if clear:
                    pipe.delete(*_keys(clear))
                pipe.execute()
        except RedisError:
            # Safe: the attempt stays counted for an hour at most.
            logger.warning("Redis is down: a successful attempt stays counted")

    def allowance(self, limit: Limit) -> Allowance:
        """Return how many failures are left under a limit, without counting one."""
        now = clock.now().timestamp()
        try:
            key, since = PREFIX + limit.name, f"({now - WINDOW_SECONDS!r}"
            found = cast(list[tuple[bytes, float]], self._redis.zrangebyscore(key, since, "+inf", withscores=True))
            scores = [score for _member, score in found]
        except RedisError:
            scores, limit = self._own.scores(limit, now), self._own.share(limit)
        wait = _wait(limit, scores, now) or (scores[0] + WINDOW_SECONDS - now if scores else 0.0)
        return Allowance(limit.amount, max(0, limit.amount - len(scores)), timedelta(seconds=wait))


class _InMemory:
    """The same counts in one process, while Redis is down."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._entries: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        self._lock = threading.Lock()

    def share(self, limit: Limit) -> Limit:
        """Return the limit of one process of several."""
        return Limit(limit.name, max(1, limit.amount // self._processes), limit.blocks, limit.doubles)

    def begin(self, limits: Sequence[Limit], member: str, now: float) -> list[float]:
        with self._lock:
            waits = [_wait(self.share(limit), self._scores(limit, now), now) for limit in limits]
            if not any(wait > 0 and limit.blocks for limit, wait in zip(limits, waits, strict=True)):
                for limit in limits:
                    entries = self._entries[limit.name]
                    entries.append((now, member))
                    del entries[: -(limit.amount + EXTRA_ENTRIES)]
            while len(self._entries) > MAX_KEYS:
                del self._entries[next(iter(self._entries))]
            return waits

    def forgive(self, attempt: Attempt, clear: Sequence[Limit]) -> None:
        with self._lock:
            for limit in attempt.limits:
                kept = [entry for entry in self._entries.pop(limit.name, []) if entry[1] != attempt.member]
                if kept and limit not in clear:
                    self._entries[limit.name] = kept

    def scores(self, limit: Limit, now: float) -> list[float]:
        with self._lock:
            return self._scores(limit, now)

    def _scores(self, limit: Limit, now: float) -> list[float]:
        return [score for score, _member in self._entries.get(limit.name, ()) if score > now - WINDOW_SECONDS]


def _wait(limit: Limit, scores: Sequence[float], now: float) -> float:
    """Return the waiting time in seconds after these failures, oldest first; the same rule as in the Lua script."""
    beyond = len(scores) - limit.amount
    if beyond < 0:
        return 0.0
    if not limit.doubles:
        return max(0.0, scores[beyond] + WINDOW_SECONDS - now)
    return float(max(0.0, scores[-1] + min(WINDOW_SECONDS, FIRST_WAIT_SECONDS * 2**beyond) - now))


def _keys(limits: Sequence[Limit]) -> list[str]:
    return [PREFIX + limit.name for limit in limits]
