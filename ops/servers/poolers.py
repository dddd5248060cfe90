"""Detects a connection pooler in front of PostgreSQL and its pool mode."""

import select
import time
import uuid
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection
from sqlalchemy.engine import make_url

from models.config.server import Database
from models.database import behind_pooler
from ops.console import Failure

TIMEOUT_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Route:
    """Connections to the database: by `url`, and by `listen_url` (default: `url` again).

    `is_notified` is whether a notification sent over the first arrives at the second while that is idle. Behind a
    pooler in transaction mode it does not, and session settings are lost there, too.
    """

    is_pooled: bool
    is_direct_pooled: bool
    is_notified: bool

    def __str__(self) -> str:
        if self.is_notified:
            used = "through a pooler that keeps sessions" if self.is_direct_pooled else "directly"
            return f"{used}, while all else goes through a pooler" if self.is_pooled and used == "directly" else used
        return "a pooler drops them" if self.is_direct_pooled else "they arrive at another database"


def find_route(settings: Database) -> Route:
    """Test both connections. Raises Failure when a server does not answer."""
    channel = f"zenzefi_probe_{uuid.uuid4().hex}"
    listening = _connect("database.listen_url" if settings.listen_url else "DATABASE_URL", settings.direct_url)
    try:
        sending = _connect("DATABASE_URL", settings.url)
        try:
            is_pooled, is_direct_pooled = behind_pooler(sending), behind_pooler(listening)
            with listening.cursor() as cursor:
                cursor.execute(f"LISTEN {channel}")
            with sending.cursor() as cursor:
                cursor.execute("SELECT pg_notify(%s, '')", (channel,))
            return Route(is_pooled, is_direct_pooled, _is_notified(listening))
        finally:
            sending.close()
    except psycopg2.Error as error:
        raise Failure(f"The database cannot be used: {_reason(error)}") from None
    finally:
        listening.close()


def require_session_pooling(settings: Database) -> None:
    """Raise Failure when LISTEN, a dump or a restore would not work over the configured connection."""
    found = find_route(settings)
    if found.is_notified:
        return
    if found.is_direct_pooled:
        raise Failure(
            "A pooler in transaction mode stands in front of the database: revocations would not arrive, and dumps"
            " would leak session settings. Set [database] listen_url to the address of PostgreSQL itself."
        )
    raise Failure("[database] listen_url names another database than DATABASE_URL does.")


def _connect(name: str, url: str) -> connection:
    try:
        address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        opened = psycopg2.connect(address, connect_timeout=TIMEOUT_SECONDS, application_name="zenzefi-probe")
    except psycopg2.Error as error:
        raise Failure(f"The database that {name} names cannot be used: {_reason(error)}") from None
    opened.autocommit = True
    return opened


def _is_notified(listening: connection) -> bool:
    """Wait for the notification without a query: a query would let a pooler pass on what it otherwise drops."""
    waiting, until = select.poll(), time.monotonic() + TIMEOUT_SECONDS
    waiting.register(listening, select.POLLIN)
    while not listening.notifies and (left := until - time.monotonic()) > 0:
        if waiting.poll(left * 1000):
            listening.poll()
    return bool(listening.notifies)


def _reason(error: psycopg2.Error) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
