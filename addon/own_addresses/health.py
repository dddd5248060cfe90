"""Health checks of database, Redis and upstream, run in the background."""

import asyncio

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from addon.http1.decisions import Local
from addon.own_addresses.json_answers import iso, json_answer
from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from addon.upstream_health.status import UpstreamStatus
from models import clock
from models.config.settings import Settings

CHECK_SECONDS = 5.0
CHECK_TIMEOUT_SECONDS = 3.0


class Health:
    """The last known state of database and Redis, None until the first check, and the upstream status."""

    def __init__(self, settings: Settings, database: TokenDatabase, upstream_status: UpstreamStatus) -> None:
        self._database = database
        self._upstream_status = upstream_status
        self._redis = Redis.from_url(settings.redis.url, socket_timeout=CHECK_TIMEOUT_SECONDS)
        self.database: bool | None = None
        self.redis: bool | None = None

    @property
    def status(self) -> str:
        """`unhealthy` without database or Redis, `degraded` without the upstream, else `healthy`."""
        if self.database is False or self.redis is False:
            return "unhealthy"
        return "degraded" if self._upstream_status.is_up is False else "healthy"

    def response(self) -> Local:
        """Return HTTP 200: the desktop client reads anything else as unreachable (docs/spec/http.md#desktop-client)."""
        return json_answer({"status": self.status, "timestamp": iso(clock.now())})

    async def watch(self) -> None:
        """Check every few seconds until cancelled."""
        try:
            while True:
                await self.check()
                await asyncio.sleep(CHECK_SECONDS)
        finally:
            await self._redis.aclose()

    async def check(self) -> None:
        """Check database and Redis concurrently."""
        self.database, self.redis = await asyncio.gather(self._database_answers(), self._redis_answers())

    async def _database_answers(self) -> bool:
        def ask() -> None:
            with self._database.factory() as session:
                session.execute(text("SELECT 1"))

        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._database.run(ask, "health", is_background=True)
        except (DatabaseUnavailable, TimeoutError):
            return False
        return True

    async def _redis_answers(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True
