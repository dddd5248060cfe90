"""Listener for cache-invalidation messages: a thread that LISTENs on PostgreSQL and passes them to the event loop.

Each heartbeat that its connection receives (heartbeat.py) extends the cache lease.
"""

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
from psycopg2.extensions import connection

from addon.token_cache.heartbeat import INTERVAL_SECONDS, Heartbeat, connect
from addon.token_cache.memory_tier import MemoryTier
from models.config.settings import Settings
from models.database import behind_pooler
from models.services.gateway.invalidation import CHANNEL

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 0.5
# A connection without a heartbeat for this long is replaced; the cache lease ends long before.
HEARTBEAT_TIMEOUT_SECONDS = 5.0


class NoHeartbeat(Exception):
    """An open connection received no heartbeat; the message names the likely cause."""


@dataclass(frozen=True, slots=True)
class TokenChange:
    """A cache-invalidation message about a token, which now has this version."""

    token_id: uuid.UUID
    # The hashes of its present and former secrets.
    secret_hashes: tuple[bytes, ...]
    version: int


class InvalidationListener:
    """Keeps the cache lease extended while heartbeats arrive; logs when they stop."""

    def __init__(
        self,
        settings: Settings,
        memory_tier: MemoryTier,
        loop: asyncio.AbstractEventLoop,
        *,
        on_change: Callable[[TokenChange], None],
        on_reconnect: Callable[[], None],
        on_settings: Callable[[], None],
        on_inspections: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._memory_tier = memory_tier
        self._on_change = on_change
        self._on_reconnect = on_reconnect
        self._on_settings = on_settings
        self._on_inspections = on_inspections
        self._loop = loop
        self._stopping = threading.Event()
        self._is_lost = False
        self._heartbeat = Heartbeat(settings.database)
        # When the present connection received its last heartbeat, by the monotonic clock.
        self._heartbeat_at = 0.0
        self._is_connected = False
        # Closed by `stop` to wake the thread.
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Start both threads; the cache lease begins with the first heartbeat."""
        self._heartbeat.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop both threads and wait for them."""
        self._stopping.set()
        self._wake.close()
        self._heartbeat.stop()
        self._thread.join(timeout=5)
        self._woken.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._run_connection()
            except (psycopg2.Error, OSError) as error:
                if not self._is_lost:
                    logger.warning("the invalidation listener is disconnected: %s", type(error).__name__)
                self._is_lost = True
            except NoHeartbeat as error:
                if not self._is_lost:
                    logger.error("the invalidation listener receives no notifications: %s", error)
                self._is_lost = True
            except Exception:
                # If the thread ended, no revocation would be received any more; a reconnect rechecks everything.
                logger.exception("an invalidation message cannot be read; the listener reconnects")
            self._on_loop(self._memory_tier.disconnected, time.monotonic(), self._settings.proxy.trust_seconds)
            self._stopping.wait(RECONNECT_SECONDS)

    def _run_connection(self) -> None:
        database = connect(self._settings.database.direct_url, "zenzefi-listener")
        try:
            database.autocommit = True
            is_pooled = behind_pooler(database)
            with database.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}; LISTEN {self._heartbeat.channel}")
            self._heartbeat_at, self._is_connected = time.monotonic(), False
            self._heartbeat.send_now()
            # From here on the connection is idle: a query would make a pooler pass on notifications that it else drops.
            while not self._stopping.is_set():
                self._receive_until(database, self._heartbeat_at + HEARTBEAT_TIMEOUT_SECONDS)
                if time.monotonic() >= self._heartbeat_at + HEARTBEAT_TIMEOUT_SECONDS:
                    raise NoHeartbeat(_reason(is_pooled=is_pooled))
        finally:
            database.close()

    def _receive_until(self, database: connection, until: float) -> None:
        sources = select.poll()  # `select` would fail for a descriptor above 1023, with very many clients
        for source in (database, self._woken):
            sources.register(source, select.POLLIN)
        while not self._stopping.is_set() and (left := until - time.monotonic()) > 0:
            if sources.poll(left * 1000):
                self._receive(database)

    def _receive(self, database: connection) -> None:
        database.poll()
        while database.notifies:
            notification = database.notifies.pop(0)
            if notification.channel == self._heartbeat.channel:
                self._on_heartbeat(float(notification.payload))
                continue
            message = json.loads(notification.payload)
            if "token" not in message:
                self._on_loop(self._on_inspections if "inspections" in message else self._on_settings)
                continue
            hashes = tuple(bytes.fromhex(each) for each in message["hashes"])
            change = TokenChange(uuid.UUID(message["token"]), hashes, message["version"])
            self._on_loop(self._on_change, change)

    def _on_heartbeat(self, sent_at: float) -> None:
        """Extend the cache lease: every change that was committed before this heartbeat was sent has been received.

        PostgreSQL delivers notifications in the order of their commits (its manual, NOTIFY).
        """
        self._heartbeat_at = time.monotonic()
        leased_until = sent_at + INTERVAL_SECONDS + self._settings.proxy.trust_seconds
        if self._is_connected:
            self._on_loop(self._memory_tier.extend_lease, leased_until)
            return
        if self._is_lost:
            logger.info("the invalidation listener is connected again")
        self._is_lost, self._is_connected = False, True
        self._on_loop(self._memory_tier.connected, leased_until)
        self._on_loop(self._on_reconnect)

    def _on_loop[*Args](self, call: Callable[[*Args], None], *args: *Args) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)


def _reason(*, is_pooled: bool) -> str:
    """Return the likely cause of an open connection that receives no notifications, and its remedy."""
    if is_pooled:
        return (
            "its connection goes through a pooler in transaction mode, which drops notifications;"
            " set [database] listen_url to the address of PostgreSQL itself"
        )
    return "none was sent over [database] url, or it arrived at another database than that of [database] listen_url"
