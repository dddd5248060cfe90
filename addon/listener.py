"""Hearing what changed: a thread that LISTENs on PostgreSQL and hands each notice to the loop."""

import asyncio
import json
import logging
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, connection
from sqlalchemy.engine import make_url

from addon.known import KnownTokens
from models.config import Settings
from models.services.changes import CHANNEL

logger = logging.getLogger(__name__)

# A connection that stands but is silent is noticed by the question that goes unanswered.
HEARTBEAT_SECONDS = 0.5
RECONNECT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """A notice: this token is at this version now."""

    token_id: uuid.UUID
    # By which it was known: of its secret, and of those before it.
    secret_hashes: tuple[bytes, ...]
    version: int


class Listener:
    """Keeps `known` true while the connection stands, and says so when it does not."""

    def __init__(
        self,
        settings: Settings,
        known: KnownTokens,
        loop: asyncio.AbstractEventLoop,
        *,
        on_change: Callable[[Change], None],
        on_return: Callable[[], None],
        on_settings: Callable[[], None],
        on_inspections: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._known = known
        self._on_change = on_change
        self._on_return = on_return
        self._on_settings = on_settings
        self._on_inspections = on_inspections
        self._loop = loop
        self._stopping = threading.Event()
        self._is_lost = False
        # Written to by `stop`, so that the thread does not sleep through it.
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin to listen; `known` becomes trusted when the connection stands."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._stopping.set()
        self._wake.close()
        self._thread.join(timeout=5)
        self._woken.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (psycopg2.Error, OSError) as error:
                if not self._is_lost:
                    logger.warning("the listener lost the database: %s", type(error).__name__)
                self._is_lost = True
            except Exception:
                # A thread that ended would hear of no revocation any more; who begins anew looks at everything again.
                logger.exception("a notice cannot be understood; the listener begins anew")
            self._on_loop(self._known.deaf, time.monotonic(), self._settings.proxy.trust_seconds)
            self._stopping.wait(RECONNECT_SECONDS)

    def _listen(self) -> None:
        # A dead peer is noticed by the heartbeat: the kernel gives up on unacknowledged bytes after two seconds.
        url = make_url(self._settings.database.url)
        database = psycopg2.connect(
            url.set(drivername="postgresql").render_as_string(hide_password=False),
            connect_timeout=2,
            tcp_user_timeout=2000,
            application_name="zenzefi-listener",
        )
        try:
            database.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            with database.cursor() as cursor:
                cursor.execute("SET statement_timeout = 2000")
                cursor.execute(f"LISTEN {CHANNEL}")
                if self._is_lost:
                    logger.info("the listener hears the database again")
                self._is_lost = False
                self._on_loop(self._known.listening, self._trusted_from(time.monotonic()))
                self._on_loop(self._on_return)
                while not self._stopping.is_set():
                    asked = time.monotonic()
                    cursor.execute("SELECT 1")
                    self._hear(database)
                    self._on_loop(self._known.heard, self._trusted_from(asked))
                    self._hear_until(database, asked + HEARTBEAT_SECONDS)
        finally:
            database.close()

    def _trusted_from(self, moment: float) -> float:
        """Return until when the map may be trusted after all notices up to a moment have come."""
        return moment + HEARTBEAT_SECONDS + self._settings.proxy.trust_seconds

    def _hear_until(self, database: connection, until: float) -> None:
        sources = select.poll()  # `select` would fail for a descriptor above 1023, with very many clients
        for source in (database, self._woken):
            sources.register(source, select.POLLIN)
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            if sources.poll(left * 1000):
                self._hear(database)

    def _hear(self, database: connection) -> None:
        database.poll()
        while database.notifies:
            notice = json.loads(database.notifies.pop(0).payload)
            if "token" not in notice:  # of what may change at run time: limits, policies, maintenance; or what is shown
                self._on_loop(self._on_inspections if "inspections" in notice else self._on_settings)
                continue
            hashes = tuple(bytes.fromhex(each) for each in notice["hashes"])
            change = Change(uuid.UUID(notice["token"]), hashes, notice["version"])
            self._on_loop(self._on_change, change)

    def _on_loop[*Args](self, call: Callable[[*Args], None], *args: *Args) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)
