"""Synchronisation of rate limit counts between workers through Redis, every 100 ms in batches."""

import asyncio
import json
import logging
import time
import uuid
from collections import Counter
from itertools import chain

from redis.asyncio import Redis
from redis.exceptions import RedisError

from addon.admission.rate_limits import WINDOW_SECONDS, RateLimiter, RateWindow
from addon.recording.counters import Counters

logger = logging.getLogger(__name__)

SYNC_INTERVAL_SECONDS = 0.1
# A worker that has not reported for this long counts as dead, and has no requests in flight any more.
WORKER_TIMEOUT_SECONDS = 3

# Tokens per call: Redis runs nothing else while a script runs.
BATCH_SIZE = 500

# Takes one JSON list of [token, in flight, second, count, second, count, ...], because one long argument is encoded far
# faster than hundreds of short ones. Adds this worker's counts to each token's hash of seconds and drops seconds that
# have left the window. Returns, as JSON, three numbers per token: the total, the oldest second, and the requests that
# other workers have in flight. The keys are built here, so the script works with one Redis, not with Redis Cluster.
_SCRIPT = """
local worker, now, window, gone = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found = {}
for at, report in ipairs(cjson.decode(ARGV[5])) do
  local counts, flights, under_way = 'zenzefi:rate:' .. report[1], 'zenzefi:flights:' .. report[1], report[2]
  for i = 3, #report, 2 do redis.call('HINCRBY', counts, report[i], report[i + 1]) end
  local total, oldest = 0, now
  local all = redis.call('HGETALL', counts)
  for i = 1, #all, 2 do
    local second = tonumber(all[i])
    if second < now - window then redis.call('HDEL', counts, all[i])
    else
      total = total + tonumber(all[i + 1])
      if second < oldest then oldest = second end
    end
  end
  redis.call('EXPIRE', counts, window + 10)
  if under_way > 0 then redis.call('HSET', flights, worker, under_way .. ':' .. now)
  else redis.call('HDEL', flights, worker) end
  redis.call('EXPIRE', flights, window)
  local others = 0
  local going = redis.call('HGETALL', flights)
  for i = 1, #going, 2 do
    if going[i] ~= worker then
      local count, seen = string.match(going[i + 1], '(%d+):(%d+)')
      if tonumber(seen) >= now - gone then others = others + tonumber(count)
      else redis.call('HDEL', flights, going[i]) end
    end
  end
  found[at] = {total, oldest, others}
end
return cjson.encode(found)
"""


class RateLimitSync:
    """Reports this worker's counts and applies the totals of all workers."""

    def __init__(self, redis: Redis, rate_limiter: RateLimiter, counters: Counters | None = None) -> None:
        self._redis = redis
        self._counters = counters or Counters()
        self._rate_limiter = rate_limiter
        self._name = uuid.uuid4().hex
        self._script = redis.register_script(_SCRIPT)

    async def run(self) -> None:
        """Synchronise until cancelled; while Redis is down, each worker keeps to its share of the limits."""
        while True:
            await asyncio.sleep(SYNC_INTERVAL_SECONDS)
            was_isolated = self._rate_limiter.is_isolated
            try:
                await self.sync()
            except (RedisError, OSError) as error:
                if not was_isolated:
                    logger.warning("rate limits are not synchronised: %s", type(error).__name__)

    async def sync(self) -> None:
        """Report the counts since the last call and apply the totals."""
        tokens = self._rate_limiter.take_changed()
        for start in range(0, len(tokens), BATCH_SIZE):
            try:
                await self._sync_batch(tokens[start : start + BATCH_SIZE])
            except (RedisError, OSError):
                for _, window in tokens[start + BATCH_SIZE :]:
                    window.is_changed = True
                raise

    async def _sync_batch(self, tokens: list[tuple[uuid.UUID, RateWindow]]) -> None:
        sent: list[tuple[RateWindow, Counter[int], int]] = []
        reports: list[list[str | int]] = []
        for token_id, window in tokens:
            pending, window.pending = window.pending, Counter()
            sent.append((window, pending, window.own))
            reports.append([str(token_id), window.in_flight, *chain.from_iterable(pending.items())])
        arguments: list[str | int] = [
            self._name,
            int(time.time()),
            WINDOW_SECONDS,
            WORKER_TIMEOUT_SECONDS,
            json.dumps(reports),
        ]
        try:
            with self._counters.timed("redis", "rate_exchange"):
                found = json.loads(await self._script(args=arguments))
        except (RedisError, OSError):
            self._rate_limiter.is_isolated = True
            # Counts that may not have been added are sent again; counting a request twice is the safe error.
            for window, pending, _ in sent:
                window.pending.update(pending)
                window.is_changed = True
            raise
        self._rate_limiter.is_isolated = False
        for (window, _, own_then), (total, oldest, in_flight) in zip(sent, found, strict=True):
            self._rate_limiter.apply_totals(window, total=total, oldest=oldest, in_flight=in_flight, own_then=own_then)
