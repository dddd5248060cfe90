"""Database connections: one engine per process, with the same limits everywhere, also behind a pooler.

A pooler in transaction mode (PgBouncer, Odyssey, Supabase's port 6543, Neon's `-pooler` hosts) gives each transaction
another server connection, and refuses connections that send `options`. So no limit is sent when connecting. On a direct
connection the limits are set once, for the session; behind a pooler they are set at the start of each transaction, for
that transaction, because session settings would stay with a server connection that other clients use. Each new
connection verifies that its limits hold before it is used.
"""

from typing import Any
from weakref import WeakSet

from psycopg2.extensions import STATUS_READY, connection, cursor
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from models import tables  # noqa: F401 - a row may refer to any table, so every process needs them all
from models.config.server import Database

Sessions = sessionmaker[Session]

IDLE_IN_TRANSACTION_MS = 60_000
_SET = """
    SELECT set_config('timezone', 'UTC', %(is_local)s),
        set_config('statement_timeout', %(statement_timeout)s, %(is_local)s),
        set_config('lock_timeout', %(lock_timeout)s, %(is_local)s),
        set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_session_timeout)s, %(is_local)s)"""
_SHOW = "SELECT name, setting FROM pg_settings WHERE name = ANY(%(names)s)"


class LimitsNotApplied(SQLAlchemyError):
    """The server, or a pooler in front of it, does not apply the limits set for a connection."""


def engine_options(settings: Database) -> dict[str, Any]:
    """Return the options of every engine; the portal passes the same to Flask-SQLAlchemy."""
    return {
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_size,
        "pool_pre_ping": True,
        "pool_timeout": 5,
        "connect_args": {
            "connect_timeout": 5,
            # Detects a peer that vanished, while waiting for a statement and while idle.
            "tcp_user_timeout": 10_000,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "application_name": "zenzefi",
        },
    }


def connect(settings: Database, *, name: str = "zenzefi") -> Engine:
    """Create the engine of a process other than the portal; `name` is shown in pg_stat_activity."""
    options = engine_options(settings)
    options["connect_args"]["application_name"] = name
    engine = create_engine(settings.url, **options)
    apply_limits(engine, settings)
    return engine


def apply_limits(engine: Engine, settings: Database) -> None:
    """Set the time zone and timeouts of every connection of an engine; called once, before it is used."""
    limits = {
        "statement_timeout": str(settings.statement_timeout_ms),
        "lock_timeout": str(settings.lock_timeout_ms),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
    }

    pooled: WeakSet[connection] = WeakSet()

    def connected(database: connection, _entry: ConnectionPoolEntry) -> None:
        is_pooled = behind_pooler(database)
        if is_pooled:
            pooled.add(database)
        with database.cursor() as opened:
            opened.execute(_SET, {**limits, "is_local": is_pooled})
            opened.execute(_SHOW, {"names": list(limits)})
            found = dict(opened.fetchall())
        wrong = sorted(f"{name} is {found.get(name)} instead of {limit}" for name, limit in limits.items()
                       if found.get(name) != limit)  # fmt: skip
        if wrong:
            raise LimitsNotApplied(f"The limits of a connection do not hold: {', '.join(wrong)}.")
        database.commit()

    def executing(opened: cursor, *_statement: object) -> None:
        # Runs inside SQLAlchemy's own error handling, unlike its event "begin": a lost connection is recognised as one.
        database = opened.connection
        if database in pooled and database.status == STATUS_READY and not database.autocommit:
            opened.execute(_SET, {**limits, "is_local": True})

    event.listen(engine, "connect", connected)
    for name in ("do_execute", "do_executemany", "do_execute_no_params"):
        event.listen(engine, name, executing)


def behind_pooler(database: connection) -> bool:
    """Return whether a pooler answers instead of the server: it reports its own process id."""
    with database.cursor() as opened:
        opened.execute("SELECT pg_backend_pid()")
        return bool(opened.fetchone() != (database.info.backend_pid,))


def sessions(engine: Engine) -> Sessions:
    """Return a session factory: `with sessions(engine).begin() as session` is one transaction."""
    return sessionmaker(engine, expire_on_commit=False)
