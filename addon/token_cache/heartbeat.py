"""Heartbeat of the invalidation listener: notifications that it must receive, sent over another connection.

Only such a notification proves that the listener would receive that of a revocation. An answered query proves nothing:
behind a pooler in transaction mode any server connection may answer it, even the one that executed LISTEN, so neither
pg_listening_channels() nor a notification to itself is a proof. A notification received while the listener is idle is:
a pooler passes nothing on without a query. It is sent over `[database] url`, as revocations are, so a `listen_url` of
another database is detected.
"""

import logging
import threading
import time
import uuid

import psycopg2
from psycopg2.extensions import connection
from sqlalchemy.engine import make_url

from models.config.server import Database

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.5
RECONNECT_SECONDS = 0.5
# A notification need not survive a crash of the server, so its commit does not wait for the disk.
_LIMITS = "SET LOCAL statement_timeout = 2000; SET LOCAL synchronous_commit = off"


def connect(url: str, name: str) -> connection:
    """Open a connection that detects a dead server within two seconds; `name` is shown in pg_stat_activity."""
    return psycopg2.connect(
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False),
        connect_timeout=2,
        tcp_user_timeout=2000,
        keepalives_idle=1,
        keepalives_interval=1,
        keepalives_count=2,
        application_name=name,
    )


class Heartbeat:
    """A thread that sends the present time of the monotonic clock to a notification channel of its own."""

    def __init__(self, settings: Database) -> None:
        self.channel = f"zenzefi_heartbeat_{uuid.uuid4().hex}"
        self._settings = settings
        self._stopping = False
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def send_now(self) -> None:
        """Send the next heartbeat at once, because the listener has just connected."""
        self._due.set()

    def stop(self) -> None:
        """Stop the thread and wait for it."""
        self._stopping = True
        self._due.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._send()
            except (psycopg2.Error, OSError) as error:
                logger.debug("the heartbeat cannot be sent: %s", type(error).__name__)
            if not self._stopping:
                time.sleep(RECONNECT_SECONDS)

    def _send(self) -> None:
        """Send heartbeats over one connection until it is lost."""
        database = connect(self._settings.url, "zenzefi-heartbeat")
        try:
            while not self._stopping:
                self._due.clear()
                with database, database.cursor() as cursor:
                    cursor.execute(_LIMITS)
                    cursor.execute("SELECT pg_notify(%s, %s)", (self.channel, repr(time.monotonic())))
                self._due.wait(INTERVAL_SECONDS)
        finally:
            database.close()
