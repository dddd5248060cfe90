"""Recorder of finished exchanges: metrics, access log, recent requests."""

from collections.abc import Callable

from redis.asyncio import Redis

from addon.http1.exchange import Exchange
from addon.recording.access_log import AccessLog
from addon.recording.counters import Counters
from addon.recording.metrics import GatewayMetrics, WorkerGauges
from addon.recording.recent_requests import RecentRequests
from models.config.settings import ConfigError, Settings
from models.services.gateway.token_lookup import TokenSnapshot


class ExchangeRecorder:
    """One worker's metrics, access log and recent requests."""

    def __init__(
        self, settings: Settings, redis: Redis, counters: Counters, gauges: Callable[[], WorkerGauges]
    ) -> None:
        self.counters = counters
        self.log = AccessLog(settings.proxy.access_log, counters)
        self.metrics = GatewayMetrics(settings, redis, counters, gauges)
        self.recent = RecentRequests(redis, counters)

    def start(self) -> None:
        """Open the access log. Raises ConfigError when it cannot be opened."""
        try:
            self.log.start()
        except OSError as error:
            raise ConfigError(f"proxy.access_log: cannot be opened: {error.strerror}") from None

    async def stop(self) -> None:
        """Publish and write the remaining records."""
        await self.recent.flush()
        await self.metrics.stop()
        self.log.stop()

    def record(self, exchange: Exchange) -> None:
        """Record an exchange that has ended; `exchange.snapshot` is its token's, admitted or refused."""
        self.counters.count_exchange(exchange)
        snapshot = exchange.snapshot if isinstance(exchange.snapshot, TokenSnapshot) else None
        self.log.record(exchange, snapshot)
        self.recent.add_failed(exchange, snapshot)
        if snapshot is not None:
            self.recent.add(exchange, snapshot)
