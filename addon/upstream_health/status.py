"""Upstream status of a worker: the last health check from Redis, or the outage record without Redis."""

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
# The database is asked less often: it is the last resort, and every worker falls back to it at once.
RECORD_SECONDS = 5.0


class UpstreamStatus:
    """Keeps `is_up` true: None while nobody has probed lately. Addresses that fail are tried last by requests."""

    def __init__(self, settings: Settings, redis: Redis, database: TokenDatabase, upstream: Upstream) -> None:
        self._settings = settings.upstream
        self._redis = redis
        self._database = database
        self._upstream = upstream
        self._failing: set[tuple[str, int]] = set()
        self._record_read_at = float("-inf")
        self.is_up: bool | None = None

    async def watch(self) -> None:
        """Look again and again until cancelled."""
        while True:
            try:
                await self.refresh()
            except Exception:
                logger.exception("the upstream's state cannot be read; the next look goes on")
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def refresh(self) -> None:
        """Take in the prober's last word."""
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
        """Ask the outage record. That no outage is open does not say that anybody has probed."""

        def ask() -> bool:
            with self._database.factory() as session:
                return outages.current_outage(session, self._settings.probe_gap) is not None

        try:
            return False if await self._database.run(ask, "outage") else None
        except DatabaseUnavailable:
            return None

    def _mark_addresses(self, state: UpstreamState) -> None:
        """Let requests try addresses last that do not answer the prober.

        One that answers again is trusted again, once: that the prober reaches it says nothing of this worker's own way.
        """
        now = time.monotonic()
        for address in self._upstream.addresses:
            host, port = address
            answers = state.addresses.get(f"{host}:{port}")
            if answers is False:
                self._failing.add(address)
                self._upstream.mark_failed(address, now)
            elif answers and address in self._failing:
                self._failing.discard(address)
                self._upstream.mark_reachable(address)
