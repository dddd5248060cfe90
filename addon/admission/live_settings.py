"""What may change while a worker runs: limits, device policy, maintenance. Read anew when a notice says so."""

import asyncio
import logging
from collections.abc import Callable

from addon.token_cache.database import StoreDown, TokenDatabase
from models.config.settings import Settings
from models.services.settings import overrides

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class LiveSettings:
    """Keeps `settings` true. Only the loop touches it; what was read last stays good while the database is down."""

    def __init__(self, settings: Settings, store: TokenDatabase, apply: Callable[[Settings], None]) -> None:
        self._frozen = settings
        self._store = store
        self._apply = apply
        self._changed = asyncio.Event()
        self.are_known = False

    def changed(self) -> None:
        """A notice came, or notices may have been missed: read anew."""
        self._changed.set()

    async def watch(self) -> None:
        """Read whenever something has changed, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.read()
            except StoreDown:
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("the settings of run time cannot be taken up; the old ones stay")

    async def read(self) -> None:
        """Read and take up what is good now. Raises StoreDown."""

        def ask() -> Settings:
            with self._store.factory() as session:
                return overrides.effective_settings(session, self._frozen)

        self._apply(await self._store.run(ask, "settings"))
        self.are_known = True
