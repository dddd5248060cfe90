"""The worker's calls to PostgreSQL, each one transaction in a thread, so that the event loop is never blocked.

Background work (rechecks of revoked tokens, usage counts) has threads of its own, so that many slow look-ups or
activations cannot delay the end of a revoked token.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from addon.recording.counters import Counters
from models import database
from models.config.settings import Settings
from models.services.actor import Actor
from models.services.gateway import sessions, token_lookup
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.tokens import browser_access
from models.services.tokens.browser_access import BrowserLogin

# An activation that takes longer is rolled back: its request was refused by then (http1.limits, `admit_seconds`), and a
# refused request must not activate a token.
START_SESSION_SECONDS = 8.0
# After a look-up without an answer for this long, further look-ups fail at once.
LOOKUP_TIMEOUT_SECONDS = 3.0
# How often one look-up tries again meanwhile.
RETRY_SECONDS = 1.0
BACKGROUND_THREADS = 4


class DatabaseUnavailable(Exception):
    """The database did not answer; the caller refuses the request or falls back to cached data."""


class TokenDatabase:
    """Queries of one worker, on a pool of threads and a pool of connections."""

    def __init__(self, settings: Settings, engine: Engine | None = None, counters: Counters | None = None) -> None:
        self._settings = settings
        self.rules = settings.sessions
        self._counters = counters or Counters()
        self.engine = engine or database.connect(settings.database)
        self.factory = database.sessions(self.engine)
        self._threads = ThreadPoolExecutor(settings.database.pool_size, thread_name_prefix="database")
        self._background_threads = ThreadPoolExecutor(BACKGROUND_THREADS, thread_name_prefix="database-background")
        # Until when look-ups fail at once; in the past while the database answers.
        self._unavailable_until = float("-inf")

    async def find(self, secret_hash: bytes) -> TokenSnapshot | None:
        """Look a token up by the hash of its secret. Raises DatabaseUnavailable."""

        def work() -> TokenSnapshot | None:
            with self.factory.begin() as session:
                return token_lookup.find(session, secret_hash)

        return await self._look_up(work, "token")

    async def find_by_cookie(self, cookie_hash: bytes) -> TokenSnapshot | None:
        """Look a token up by the hash of a browser access cookie. Raises DatabaseUnavailable."""

        def work() -> TokenSnapshot | None:
            with self.factory.begin() as session:
                return browser_access.find_by_cookie(session, cookie_hash)

        return await self._look_up(work, "cookie")

    async def prefix_of_ticket(self, ticket_hash: bytes) -> str | None:
        """Return the prefix of the token of a valid ticket, None for any other. Raises DatabaseUnavailable."""

        def work() -> str | None:
            with self.factory.begin() as session:
                return browser_access.grants_access(session, ticket_hash)

        return await self._look_up(work, "ticket")

    async def redeem(self, ticket_hash: bytes, actor: Actor, held: bytes | None) -> BrowserLogin:
        """Redeem a ticket for a browser access cookie. Raises DatabaseUnavailable and TicketRefused."""

        def work() -> BrowserLogin:
            with self.factory.begin() as session:
                return browser_access.redeem(session, ticket_hash, settings=self._settings, actor=actor, held=held)

        return await self.run(work, "redeem")

    async def find_by_id(self, token_ids: list[uuid.UUID]) -> dict[uuid.UUID, TokenSnapshot]:
        """Look tokens up by their ids. Raises DatabaseUnavailable."""

        def work() -> dict[uuid.UUID, TokenSnapshot]:
            with self.factory.begin() as session:
                return token_lookup.find_by_id(session, token_ids)

        return await self.run(work, "tokens", is_background=True)

    async def device_locked_for(self, token_id: uuid.UUID, device: str | None) -> timedelta | None:
        """Return how long the device lock still lasts, None for none. Raises DatabaseUnavailable."""

        def work() -> timedelta | None:
            with self.factory.begin() as session:
                return sessions.device_locked_for(session, token_id, device=device, rules=self.rules)

        return await self._look_up(work, "held")

    async def start_session(self, token_id: uuid.UUID, device: str | None, actor: Actor) -> uuid.UUID:
        """Activate the token if that is due, open or join its session, and return the session's id.

        Raises DatabaseUnavailable, TokenUnusable and DeviceConflict.
        """
        latest = time.monotonic() + START_SESSION_SECONDS

        def work() -> uuid.UUID:
            with self.factory.begin() as session:
                opened = sessions.start_session(session, token_id, device=device, rules=self.rules, actor=actor)
                if time.monotonic() > latest:
                    raise DatabaseUnavailable("the activation took too long")
                return opened.id

        return await self.run(work, "begin")

    async def _look_up[T](self, work: Callable[[], T], kind: str) -> T:
        """Run a call that a client waits for, with a timeout. Raises DatabaseUnavailable."""
        now = time.monotonic()
        if now < self._unavailable_until:
            raise DatabaseUnavailable("no answer to an earlier look-up")
        if self._unavailable_until > float("-inf"):
            self._unavailable_until = now + RETRY_SECONDS
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_SECONDS):
                found = await self.run(work, kind)
        except TimeoutError as error:
            self._unavailable_until = time.monotonic() + RETRY_SECONDS
            raise DatabaseUnavailable("no answer in time") from error
        self._unavailable_until = float("-inf")
        return found

    async def run[T](self, work: Callable[[], T], kind: str = "other", *, is_background: bool = False) -> T:
        """Run a blocking call in a thread; errors of the database driver become DatabaseUnavailable.

        `kind` is its label in the metrics, which measure the wait for a free thread too. `is_background` is for calls
        that no client waits for.
        """
        threads = self._background_threads if is_background else self._threads
        try:
            with self._counters.timed("db", kind):
                return await asyncio.get_running_loop().run_in_executor(threads, work)
        except SQLAlchemyError as error:
            raise DatabaseUnavailable(type(error).__name__) from error

    def close(self) -> None:
        """Wait for running calls and close all connections."""
        self._threads.shutdown(wait=True)
        self._background_threads.shutdown(wait=True)
        self.engine.dispose()
