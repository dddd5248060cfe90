"""How Alembic reaches our database; Flask-Migrate runs this within the portal's application context."""

from alembic import context
from flask import current_app
from sqlalchemy import text

# A migration that cannot get its lock soon gives up, so that it never queues all traffic behind itself. A long
# statement is cancelled too: a migration that needs more says so by SET LOCAL in its own body.
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "60s"
# Any number of ours: two migrators at once wait for each other instead of colliding.
ADVISORY_LOCK = 7_401_991


def run() -> None:
    db = current_app.extensions["migrate"].db
    with db.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            compare_type=True,
            compare_server_default=True,
            transaction_per_migration=True,
        )
        try:
            with context.begin_transaction():
                context.run_migrations()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})


if context.is_offline_mode():
    raise SystemExit("Migrations run against a database; offline SQL is not supported.")
run()
