"""Settings that change at run time: limits, device policy, maintenance; reloaded on notification."""

import asyncio
import logging
from collections.abc import Callable

from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from models.config.settings import Settings
from models.services.settings import overrides

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class LiveSettings:
    """Applies changed settings; the last ones stay in force while the database is down. Used on the event loop only."""

    def __init__(self, settings: Settings, database: TokenDatabase, apply: Callable[[Settings], None]) -> None:
        self._file_settings = settings
        self._database = database
        self._apply = apply
        self._changed = asyncio.Event()
        self.are_loaded = False

    def reload(self) -> None:
        """Request a reload."""
        self._changed.set()

    async def watch(self) -> None:
        """Load the settings after every change, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.load()
            except DatabaseUnavailable:
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("changed settings cannot be applied; the old ones stay in force")

    async def load(self) -> None:
        """Read and apply the present settings. Raises DatabaseUnavailable."""

        def read() -> Settings:
            with self._database.factory() as session:
                return overrides.effective_settings(session, self._file_settings)

        self._apply(await self._database.run(read, "settings"))
        self.are_loaded = True
