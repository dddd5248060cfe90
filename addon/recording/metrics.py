"""The gateway's metrics: counted by each worker, added up in Redis, returned by any worker to the ops network.

Workers add their increments to one hash of totals, so that the death of a worker never lowers a total. Each batch of
increments has a number, so that a batch sent again after a lost reply counts once. While Redis is down, increments are
kept and only this worker's gauges are returned: a gap in a counter is harmless, a lower value means a restart to
Prometheus.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import astuple, dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from addon.http1.decisions import Local, Peer
from addon.http1.messages.heads import RequestHead
from addon.process.tls_files import Certificates
from addon.recording.counters import Counters, Key
from addon.recording.prometheus_text import GatewayTotals, render
from models.config.settings import Settings
from models.metrics.catalogue import LAG
from models.metrics.prometheus import CONTENT_TYPE
from models.services.gateway.outages import STATE_KEY, state_from_json
from models.services.gateway.workers import CERTIFICATES, GAUGES, TOTALS, WORKER_TIMEOUT_SECONDS

logger = logging.getLogger(__name__)

PUBLISH_SECONDS = 1.0
LAG_INTERVAL_SECONDS = 0.5
# The version in the name is increased when fields change their meaning, as with other histogram buckets.
NUMBERS = "zenzefi:metrics:1:number:"

# Adds a batch once, and renews this worker's gauges under Redis's own clock, which all workers share.
_PUBLISH = """
local totals, gauges, number = KEYS[1], KEYS[2], KEYS[3]
if tonumber(redis.call('GET', number) or '0') < tonumber(ARGV[1]) then
  for i = 5, #ARGV, 2 do redis.call('HINCRBY', totals, ARGV[i], ARGV[i + 1]) end
end
redis.call('SET', number, ARGV[1], 'EX', 3600)
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', gauges, ARGV[2], now .. ' ' .. ARGV[3])
local all = redis.call('HGETALL', gauges)
for i = 1, #all, 2 do
  if tonumber(string.match(all[i + 1], '%d+')) < now - tonumber(ARGV[4]) then redis.call('HDEL', gauges, all[i]) end
end
redis.call('EXPIRE', gauges, 60)
"""


@dataclass(frozen=True, slots=True)
class WorkerGauges:
    """The present values of one worker's gauges."""

    open_connections: int
    flush_backlog: int
    database_connected: int
    upstream_connections: int
    upstream_idle: int


class GatewayMetrics:
    """One worker's part in the metrics. Used on the event loop only."""

    def __init__(
        self, settings: Settings, redis: Redis, counters: Counters, gauges: Callable[[], WorkerGauges]
    ) -> None:
        self._settings = settings
        self._certificates = Certificates(settings)
        self._redis = redis
        self._counters = counters
        self._gauges = gauges
        self._name = uuid.uuid4().hex
        self._script = redis.register_script(_PUBLISH)
        self._number = 0
        # Taken from the counters and not confirmed by Redis yet.
        self._batch: dict[Key, int] = {}
        self._is_redis_down = False

    def may_read(self, peer: Peer, request: RequestHead) -> bool:
        """Return whether a client may read the metrics: its own address must be in the ops network.

        Requests forwarded by a reverse proxy that is not trusted are refused, because they show that proxy's address.
        """
        headers = request.headers
        if not peer.was_forwarded and (headers.get(b"x-forwarded-for") or headers.get(b"forwarded")):
            return False
        return self._settings.proxy.is_ops(peer.address)

    async def run(self) -> None:
        """Publish until cancelled; a failure of Redis is logged once."""
        while True:
            await asyncio.sleep(PUBLISH_SECONDS)
            try:
                await self.publish()
            except (RedisError, OSError) as error:
                if not self._is_redis_down:
                    logger.warning("metrics are not published: %s", type(error).__name__)
                self._is_redis_down = True
            else:
                self._is_redis_down = False

    async def watch_lag(self) -> None:
        """Measure how late the event loop wakes up, until cancelled: every client waits that long."""
        while True:
            due = time.perf_counter() + LAG_INTERVAL_SECONDS
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            self._counters.observe("lag", "", max(0.0, time.perf_counter() - due), LAG)

    async def publish(self) -> None:
        """Add the counts to the totals. Raises RedisError or OSError; the same batch is then sent again."""
        if not self._batch:
            self._batch = self._counters.take()
            self._number += 1
        increments = [part for key, by in self._batch.items() for part in ("|".join(map(str, key)), by)]
        gauges = " ".join(map(str, astuple(self._gauges())))
        await self._script(
            keys=[TOTALS, GAUGES, NUMBERS + self._name],
            args=[self._number, self._name, gauges, WORKER_TIMEOUT_SECONDS, *increments],
        )
        self._batch = {}

    async def stop(self) -> None:
        """Publish the last counts of a stopping worker, and remove its gauges."""
        try:
            for _ in range(2):  # First a batch that was not confirmed, then the counts after it.
                await self.publish()
            await self._redis.hdel(GAUGES, self._name)
        except (RedisError, OSError) as error:
            logger.warning("the last metrics are lost: %s", type(error).__name__)

    async def response(self) -> Local:
        """Return the sum over all workers as Prometheus text."""
        return Local(200, render(await self._collect()), CONTENT_TYPE, (("Cache-Control", "no-store"),))

    async def _collect(self) -> GatewayTotals:
        own, certificates = self._gauges(), self._certificates.ends()
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.time()
                pipeline.hgetall(GAUGES)
                pipeline.hgetall(TOTALS)
                pipeline.get(STATE_KEY)
                pipeline.hgetall(CERTIFICATES)
                (now, _), gauges, totals, upstream_state, public_certificates = await pipeline.execute()
        except (RedisError, OSError):
            return GatewayTotals(None, astuple(own), workers=None, certificates=certificates)
        others = [
            [int(part) for part in value.split()] for name, value in gauges.items() if name.decode() != self._name
        ]
        alive = [own, *(WorkerGauges(*values) for at, *values in others if at >= now - WORKER_TIMEOUT_SECONDS)]
        summed = WorkerGauges(
            sum(each.open_connections for each in alive),
            sum(each.flush_backlog for each in alive),
            min(each.database_connected for each in alive),
            sum(each.upstream_connections for each in alive),
            sum(each.upstream_idle for each in alive),
        )
        found = {tuple(field.decode().split("|")): int(value) for field, value in totals.items()}
        upstream = state_from_json(upstream_state, self._settings.upstream.url)
        certificates |= {name.decode(): float(end) for name, end in public_certificates.items()}
        return GatewayTotals(found, astuple(summed), len(alive), upstream, certificates)
