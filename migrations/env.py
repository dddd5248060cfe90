"""How Alembic reaches our database; Flask-Migrate runs this within the portal's application context."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from flask import current_app
from sqlalchemy import Connection, Engine, text

from models import database
from models.tables import Base

# A migration that cannot get its lock soon gives up, so that it never queues all traffic behind itself. A long
# statement is cancelled too: a migration that needs more says so by SET LOCAL in its own body.
LIMITS = {"lock_timeout_ms": 5_000, "statement_timeout_ms": 60_000}
# Any number of ours: two migrators at once wait for each other instead of colliding.
ADVISORY_LOCK = 7_401_991
# How long the second one waits for the first.
PATIENCE = "10min"


def run() -> None:
    settings = current_app.extensions["zenzefi"].database.direct
    engine = database.connect(settings.model_copy(update=LIMITS), name="zenzefi-migration")
    with alone(engine) as lock, engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            compare_server_default=True,
            transaction_per_migration=True,
            # In the migration's transaction: when the lock was lost with its connection, it is rolled back.
            on_version_apply=lambda **_: lock.execute(text("SELECT 1")),
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """Hold the migrators' lock in a transaction of its own, on a connection beside that of the migrations.

    A lock of the session would outlive every transaction, but behind a pooler in transaction mode the next client of
    the server connection would hold it as well.
    """
    with engine.connect() as holder:
        holder.execute(text(f"SET LOCAL statement_timeout = '{PATIENCE}'"))
        for limit in ("lock_timeout", "idle_in_transaction_session_timeout"):
            holder.execute(text(f"SET LOCAL {limit} = 0"))
        holder.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        yield holder


if context.is_offline_mode():
    raise SystemExit("Migrations run against a database; offline SQL is not supported.")
run()
