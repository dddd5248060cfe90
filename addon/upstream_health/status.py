"""Upstream status in each worker: the last health check from Redis, or the outage record without Redis."""

import asyncio
import logging
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from addon.http1.upstream import Upstream
from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from models.config.settings import Settings
from models.services.gateway import outages
from models.services.gateway.outages import STATE_KEY, UpstreamState, state_from_json

logger = logging.getLogger(__name__)

POLL_INTERVAL_SECONDS = 1.0
# The outage record in the database is polled less often: without Redis, all workers poll it.
RECORD_SECONDS = 5.0


class UpstreamStatus:
    """Polls the status of the upstream; `is_up` is None without a recent probe.

    Requests try addresses that failed the last probe after all others.
    """

    def __init__(self, settings: Settings, redis: Redis, database: TokenDatabase, upstream: Upstream) -> None:
        self._settings = settings.upstream
        self._redis = redis
        self._database = database
        self._upstream = upstream
        self._failing: set[tuple[str, int]] = set()
        self._record_read_at = float("-inf")
        self.is_up: bool | None = None

    async def watch(self) -> None:
        """Poll until cancelled."""
        while True:
            try:
                await self.refresh()
            except Exception:
                logger.exception("the upstream's state cannot be read; it is retried")
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def refresh(self) -> None:
        """Read and apply the prober's last result."""
        try:
            state = state_from_json(await self._redis.get(STATE_KEY), self._settings.url)
        except (RedisError, OSError):
            state = None
        if state is not None:
            self.is_up = state.is_up
            self._record_read_at = float("-inf")
            self._mark_addresses(state)
        elif time.monotonic() - self._record_read_at >= RECORD_SECONDS:
            self._record_read_at = time.monotonic()
            self.is_up = await self._read_outage_record()

    async def _read_outage_record(self) -> bool | None:
        """Return False during a recorded outage, else None: the record does not prove that the upstream is up."""

        def read() -> bool:
            with self._database.factory() as session:
                return outages.current_outage(session, self._settings.probe_gap) is not None

        try:
            return False if await self._database.run(read, "outage") else None
        except DatabaseUnavailable:
            return None

    def _mark_addresses(self, state: UpstreamState) -> None:
        """Make requests try addresses that fail the probe after all others.

        An address that recovers is marked as reachable only once: the prober may reach it while this worker cannot.
        """
        now = time.monotonic()
        for address in self._upstream.addresses:
            host, port = address
            is_good = state.addresses.get(f"{host}:{port}")
            if is_good is False:
                self._failing.add(address)
                self._upstream.mark_failed(address, now)
            elif is_good and address in self._failing:
                self._failing.discard(address)
                self._upstream.mark_reachable(address)
