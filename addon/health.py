"""Is everything there? Asked in the background, so that a health request costs nothing and waits for nothing."""

import asyncio
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from addon.answers import Answer, as_json, iso
from addon.store import Store, StoreDown
from models import clock
from models.config import Settings

CHECK_SECONDS = 5.0
ANSWER_WITHIN_SECONDS = 3.0


class Health:
    """The last known state of database, Redis and upstream; None until the first check."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._redis = Redis.from_url(settings.redis.url, socket_timeout=ANSWER_WITHIN_SECONDS)
        self.database: bool | None = None
        self.redis: bool | None = None
        self.upstream: bool | None = None

    @property
    def status(self) -> str:
        """`unhealthy` without database or Redis, `degraded` without the upstream, else `healthy`."""
        if self.database is False or self.redis is False:
            return "unhealthy"
        return "degraded" if self.upstream is False else "healthy"

    def answer(self) -> Answer:
        """Always HTTP 200: the desktop client reads anything else as unreachable (contract.md, section 1)."""
        return as_json({"status": self.status, "timestamp": iso(clock.now())})

    async def watch(self) -> None:
        """Check everything again and again until cancelled."""
        try:
            while True:
                await self.check()
                await asyncio.sleep(CHECK_SECONDS)
        finally:
            await self._redis.aclose()

    async def check(self) -> None:
        """Ask all three at once."""
        self.database, self.redis, self.upstream = await asyncio.gather(
            self._database_answers(), self._redis_answers(), self._upstream_answers()
        )

    async def _database_answers(self) -> bool:
        def ask() -> None:
            with self._store.factory() as session:
                session.execute(text("SELECT 1"))

        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                await self._store.run(ask)
        except (StoreDown, TimeoutError):
            return False
        return True

    async def _redis_answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def _upstream_answers(self) -> bool:
        """A connection is enough here; whether it also serves is what the requests themselves find out."""
        url = urlsplit(self._settings.upstream.url)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                _, writer = await asyncio.open_connection(
                    url.hostname, url.port or (443 if url.scheme == "https" else 80)
                )
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True
