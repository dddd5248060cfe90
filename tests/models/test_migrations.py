"""Migrations and models agree in both directions, and a migration never waits long for a lock."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import OperationalError

from models import database
from models.config import settings as config
from models.tables import Base
from ops import schema_revision
from ops.commands import migrate
from tests.pgbouncer import pgbouncer

ROOT = Path(__file__).resolve().parents[2]
HERE = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
COMPARE = {"compare_type": True, "compare_server_default": True}


@pytest.fixture
def scratch(make_database: Callable[[], str], environment: dict[str, str]) -> Iterator[tuple[Flask, Engine]]:
    """The migrating application on a database of its own, at the newest revision."""
    # Other limits than a migration's own, so that they can be distinguished.
    limits = {"ZENZEFI_DATABASE__LOCK_TIMEOUT_MS": "7000", "ZENZEFI_DATABASE__STATEMENT_TIMEOUT_MS": "17000"}
    settings = config.load_settings({**environment, **limits, "DATABASE_URL": make_database()})
    engine = create_engine(settings.database.url)
    app = migrate.migrating_app(settings)
    with app.app_context():
        yield app, engine
    engine.dispose()


def differences(connection: Connection) -> list[Any]:
    """Compare the database with the models as autogenerate does."""
    return list(compare_metadata(MigrationContext.configure(connection, opts=COMPARE), Base.metadata))


def heads(engine: Engine) -> tuple[str, ...]:
    """Return the revision of a database."""
    with engine.connect() as connection:
        return schema_revision.current(connection)


def left(engine: Engine) -> tuple[list[str], list[str], list[str]]:
    """Return our tables, functions and types in the database."""
    with engine.connect() as connection:
        routines = connection.scalars(text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"))
        types = connection.scalars(
            text("SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')")
        )
        return inspect(connection).get_table_names(), list(routines), list(types)


def test_the_newest_revision_matches_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        assert differences(connection) == []


def test_the_newest_revision_has_the_models_checks_and_indexes(engine: Engine) -> None:
    with engine.connect() as connection:
        seen = inspect(connection)
        for table in Base.metadata.sorted_tables:
            checks = {str(check["name"]) for check in seen.get_check_constraints(table.name)}
            wanted = {str(c.name) for c in table.constraints if type(c).__name__ == "CheckConstraint"}
            assert checks == wanted
            indexes = {index["name"] for index in seen.get_indexes(table.name)}
            assert indexes >= {index.name for index in table.indexes}


def test_downgrading_leaves_nothing_and_upgrading_again_restores_everything(scratch: tuple[Flask, Engine]) -> None:
    _app, engine = scratch
    flask_migrate.downgrade(revision="base")
    assert left(engine) == (["alembic_version"], [], [])
    flask_migrate.upgrade()
    with engine.connect() as connection:
        assert differences(connection) == []
        kinds = connection.scalars(text("SELECT kind FROM accounts ORDER BY kind")).all()
        assert kinds == ["adjustments", "bonuses", "gifts", "payments_received", "sales", "unclaimed"]


def test_a_second_upgrade_changes_nothing(scratch: tuple[Flask, Engine]) -> None:
    before = left(scratch[1])
    flask_migrate.upgrade()
    assert left(scratch[1]) == before


def test_a_migration_runs_under_timeouts_and_one_at_a_time(scratch: tuple[Flask, Engine]) -> None:
    found: dict[str, Any] = {}

    def look(_connection: Connection, cursor: Any, statement: str, *_more: Any) -> None:
        if statement.lstrip().startswith(("DROP TABLE", "DROP TRIGGER")) and not found:
            with cursor.connection.cursor() as beside:
                for name in ("lock_timeout", "statement_timeout"):
                    beside.execute(f"SHOW {name}")
                    found[name] = beside.fetchone()[0]
                # Other tests of this run hold locks in databases of their own.
                beside.execute(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {HERE}")
                found["locks"] = beside.fetchone()[0]

    event.listen(Engine, "before_cursor_execute", look)
    try:
        flask_migrate.downgrade(revision="base")
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert found == {"lock_timeout": "5s", "statement_timeout": "1min", "locks": 1}
    with scratch[1].connect() as connection:
        held = connection.scalar(text(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {HERE}"))
    assert held == 0


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_two_migrators_behind_a_pooler_wait_for_each_other(
    make_database: Callable[[], str], environment: dict[str, str], mode: str
) -> None:
    """PgBouncer's feature matrix: a session-level advisory lock does not hold in transaction pooling."""
    url = make_database()
    command = [sys.executable, "-m", "flask", "--app", "ops.commands.migrate:migrating_app", "db"]
    with pgbouncer(url, mode) as pooled:
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment, "DATABASE_URL": pooled}
        run = functools.partial(subprocess.run, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        assert run([*command, "downgrade", "0025_inspections"]).returncode == 0
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(run, [[*command, "upgrade"]] * 2))
        assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    engine = create_engine(url)
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


def test_a_migration_is_rolled_back_when_its_lock_was_lost(scratch: tuple[Flask, Engine]) -> None:
    """Another migrator may have begun by then."""
    app, engine = scratch
    before = heads(engine)

    def lose_the_lock(connection: Connection, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.lstrip().startswith(("ALTER TABLE", "DROP")):
            with engine.connect() as other:
                other.execute(
                    text(f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND {HERE}")
                )

    event.listen(Engine, "before_cursor_execute", lose_the_lock)
    try:
        with app.app_context(), pytest.raises(OperationalError):
            flask_migrate.downgrade(revision="-1")
    finally:
        event.remove(Engine, "before_cursor_execute", lose_the_lock)
    assert heads(engine) == before


def test_every_connection_of_ours_has_its_limits_and_speaks_utc(engine: Engine, settings: config.Settings) -> None:
    wanted = {"timezone": "UTC", "statement_timeout": "15s", "lock_timeout": "5s"}
    wanted["idle_in_transaction_session_timeout"] = "1min"
    with engine.connect() as connection:
        assert {name: connection.scalar(text(f"SHOW {name}")) for name in wanted} == wanted
    assert database.engine_options(settings.database)["pool_pre_ping"] is True
