"""`./zenzefi seed --users N --tokens N --transfers N`: fill an empty database with sample data of any size.

Ledger verification passes on it. All users have the password that is printed at the end; the user with most data is
seed1@example.test, an admin is seed2@example.test. The secrets of the tokens are unknown.
"""

import argparse
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models import clock, database
from models.config.settings import Settings
from models.services.accounts import passwords
from models.services.reports import daily_stats
from ops.console import Failure, Step, print_error, print_line
from ops.dev.seed import rows, secondary_rows
from ops.dev.seed.bulk import drop_indexes, rebuild_indexes
from ops.dev.seed.sizes import Sizes
from ops.launcher.installation import DATA, connected_installation

# Settings of the one transaction that fills the database.
_FAST = ("statement_timeout = 0", "lock_timeout = '5s'", "work_mem = '128MB'", "maintenance_work_mem = '512MB'")


def main(arguments: Sequence[str]) -> int:
    """Fill the database; returns the exit code."""
    options = _parse(arguments)
    try:
        sizes = Sizes.of(options.users, options.tokens, options.transfers)
        with connected_installation(options.data) as settings:
            password = seed(database.connect(settings.database), settings, sizes)
    except (Failure, ValueError) as failure:
        print_error(str(failure))
        return 1
    except DBAPIError as error:
        print_error(f"The database cannot be filled: {str(error.orig).strip().splitlines()[0]}")
        return 1
    print_line(f"\nBuyer seed1@example.test, admin seed2@example.test, password of both and of all others: {password}")
    return 0


def seed(engine: Engine, settings: Settings, sizes: Sizes) -> str:
    """Fill the database in one transaction and return the password of all users.

    Raises Failure in production, and for a database with transfers or more than one user.
    """
    if settings.platform.is_production:
        raise Failure("The database is not seeded in production.")
    password = secrets.token_urlsafe(12)
    hours, bases = zip(*sorted(settings.prices.znc.items()), strict=True)
    facts = {
        "users": sizes.users,
        "tokens": sizes.tokens,
        "payments": sizes.payments,
        "extensions": sizes.extensions,
        "one_more": sizes.one_more,
        "hours": list(hours),
        "bases": list(bases),
        "prices": len(hours),
        "hour_price": bases[0] if hours[0] == 1 else 1,
        "rate": settings.prices.rub_per_znc,
        "password": passwords.hash_password(password),
        "moment": clock.now(),
    }
    with engine.begin() as connection:
        _refuse_unless_empty(connection)
        for setting in _FAST:
            connection.execute(text(f"SET LOCAL {setting}"))
        for function in rows.FUNCTIONS:
            connection.execute(text(function))
        with Step("plan"):
            connection.execute(text(rows.PLAN), facts)
            connection.execute(text("ANALYZE plan"))
        for table, trigger in rows.TRIGGERS:
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}"))
        taken = drop_indexes(connection, rows.TABLES + secondary_rows.TABLES)
        for name, statements in (rows.ROWS | secondary_rows.ROWS).items():
            with Step(name):
                for statement in statements:
                    connection.execute(text(statement), facts)
        with Step("figures of the last days"), Session(connection) as session:
            daily_stats.update_days(session)
            session.flush()
        with Step("indexes and constraints"):
            rebuild_indexes(connection, taken)
        for table, trigger in rows.TRIGGERS:
            connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}"))
    with Step("statistics"), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
    return password


def _refuse_unless_empty(connection: Connection) -> None:
    """Raise Failure when the database has more than the first admin and a demo token."""
    if connection.scalar(text("SELECT EXISTS (SELECT FROM transfers) OR (SELECT count(*) FROM users) > 1")):
        raise Failure("The database is not empty: it has transfers or several users.")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./zenzefi seed", description=__doc__)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--transfers", type=int, default=50_000)
    parser.add_argument("--data", type=Path, default=DATA, help="the data folder of the installation")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
