"""Exchanging counts with the other workers through Redis, every 100 ms, in one round trip for all tokens."""

import asyncio
import logging
import time
import uuid

from redis.asyncio import Redis
from redis.exceptions import RedisError

from addon.counts import Counts
from addon.rates import WINDOW_SECONDS, Rates, Window

logger = logging.getLogger(__name__)

EXCHANGE_SECONDS = 0.1
# A worker that has not reported for this long is gone, and what it had under way with it.
GONE_SECONDS = 3

# Adds this worker's counts to the token's hash of seconds, drops what has left the window, and returns the total,
# the oldest second, and what the other workers have under way.
_SCRIPT = """
local counts, flights, worker = KEYS[1], KEYS[2], ARGV[1]
local now, window, gone, under_way = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
for i = 6, #ARGV, 2 do redis.call('HINCRBY', counts, ARGV[i], ARGV[i + 1]) end
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
    local count, at = string.match(going[i + 1], '(%d+):(%d+)')
    if tonumber(at) >= now - gone then others = others + tonumber(count)
    else redis.call('HDEL', flights, going[i]) end
  end
end
return {total, oldest, others}
"""


class Exchange:
    """This worker's part in the exchange."""

    def __init__(self, redis: Redis, rates: Rates, counts: Counts | None = None) -> None:
        self._redis = redis
        self._counts = counts or Counts()
        self._rates = rates
        self._name = uuid.uuid4().hex
        self._script = redis.register_script(_SCRIPT)
        self._is_silent = False

    async def run(self) -> None:
        """Exchange until cancelled; Redis being down is noted once and each worker then keeps to its share."""
        while True:
            await asyncio.sleep(EXCHANGE_SECONDS)
            try:
                await self.exchange()
            except (RedisError, OSError) as error:
                if not self._is_silent:
                    logger.warning("limits are not exchanged: %s", type(error).__name__)
                self._is_silent = True
            else:
                self._is_silent = False

    async def exchange(self) -> None:
        """Report what was counted and take in what the others did."""
        tokens = self._rates.to_exchange()
        if not tokens:
            return
        now = int(time.time())
        sent: list[tuple[Window, dict[int, int], int]] = []
        async with self._redis.pipeline(transaction=False) as pipeline:
            for token_id, window in tokens:
                pending, window.pending = dict(window.pending), type(window.pending)()
                sent.append((window, pending, window.own))
                counts = [part for item in pending.items() for part in item]
                arguments: list[str | int] = [self._name, now, WINDOW_SECONDS, GONE_SECONDS, window.in_flight, *counts]
                keys = [f"zenzefi:rate:{token_id}", f"zenzefi:flights:{token_id}"]
                await self._script(keys=keys, args=arguments, client=pipeline)
            try:
                with self._counts.timed("redis", "rate_exchange"):
                    answers = await pipeline.execute()
            except (RedisError, OSError):
                # What was not reported goes with the next exchange; counted twice is on the safe side.
                for window, pending, _ in sent:
                    window.pending.update(pending)
                    window.is_dirty = True
                raise
        for (window, _, own_then), (total, oldest, in_flight) in zip(sent, answers, strict=True):
            self._rates.heard(window, total=total, oldest=oldest, in_flight=in_flight, own_then=own_then)
