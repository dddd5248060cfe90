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


OLD_ROWS = """
    INSERT INTO transfers (id, kind, debit_account_id, credit_account_id, amount, description, reference_type,
        reference_id, idempotency_key)
    SELECT gen_random_uuid(), kind, gen_random_uuid(), gen_random_uuid(), 1, description, reference, gen_random_uuid(),
        'old:' || description
    FROM (VALUES ('deposit', 'Top-up', 'payment'), ('purchase', 'Token for 24 h', 'token'),
        ('purchase', 'Bundle 5 h more for token x', 'bundle_purchase'),
        ('purchase', '2 h more for token abc…', 'token'),
        ('refund', 'Unused time of token abc…', 'token'), ('gift', 'Gift code ABCD…', 'gift_code'),
        ('referral_bonus', 'Bonus, held', 'referral'), ('reversal', 'Paid back to you', 'payment'),
        ('reversal', 'Money for a deleted account', 'user'), ('adjustment', 'Debt repaid', 'user')
    ) AS old(kind, description, reference);
    INSERT INTO payment_events (id, provider, event_id, payment_id, outcome, amount_rub, body, result, needs_review)
    SELECT gen_random_uuid(), 'mock', result, gen_random_uuid(), 'succeeded', 1, '{}', result,
        starts_with(result, 'review')
    FROM unnest(ARRAY['credited', 'ignored: the payment is succeeded', 'review: the payment is canceled',
        'ignored: the payment is unknown', 'review: the dispute is won', 'review: the account is deleted',
        'review: 300.00 RUB went back, and 200.00 RUB were left', 'review: 3.00 RUB went back, and 2.00 RUB are booked',
        'review: the amount does not fit the payment', 'review: a dispute was won that is not known here']) AS result;
    INSERT INTO payment_reversals
        (id, payment_id, kind, state, amount_rub, amount_znc, reason, note, actor_id, ended_at)
    VALUES (gen_random_uuid(), gen_random_uuid(), 'refund', 'refused', 1, 1, 'Refunded at the provider',
        'It failed at the provider.', NULL, now()), (gen_random_uuid(), gen_random_uuid(), 'refund', 'done', 1, 1,
        'Refunded at the provider', '', gen_random_uuid(), now());
    INSERT INTO webhook_deliveries (id, endpoint_id, kind, data, dedup_key, error)
    SELECT gen_random_uuid(), gen_random_uuid(), 'test', '{}', error, error
    FROM unnest(ARRAY['TLS failed.', 'No response in time.', 'The certificate is not valid: self-signed.']) AS error;
    INSERT INTO ledger_checks (is_sound, faults) VALUES (false, '{"Somebody who owes has money in the wallet": ["x"]}')
"""


def rows(engine: Engine, query: str) -> set[tuple[Any, ...]]:
    """Return what a query finds, JSON as text."""
    with engine.connect() as connection:
        return {tuple(row) for row in connection.execute(text(query))}


def test_stored_texts_of_former_versions_become_codes_with_parameters_and_back(
    scratch: tuple[Flask, Engine],
) -> None:
    _app, engine = scratch
    flask_migrate.downgrade(revision="0100_message_codes")
    flask_migrate.downgrade(revision="-1")
    with engine.begin() as connection:
        # The rows refer to nothing: only their texts matter here.
        for table in ("transfers", "payment_events", "payment_reversals", "webhook_deliveries"):
            for key in inspect(connection).get_foreign_keys(table):
                connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {key['name']}"))
        connection.exec_driver_sql(OLD_ROWS)
    flask_migrate.upgrade()
    assert rows(engine, "SELECT kind, purpose, details::text, description FROM transfers") == {
        ("deposit", "topup", "{}", ""),
        ("purchase", "token_purchase", '{"duration": 24}', ""),
        ("purchase", "bundle_purchase", '{"name": "5 h more for token x"}', ""),
        ("purchase", "token_extension", '{"prefix": "abc…", "duration": 2}', ""),
        ("refund", "token_refund", '{"prefix": "abc…"}', ""),
        ("gift", "gift_code", '{"prefix": "ABCD…"}', ""),
        ("referral_bonus", "referral_bonus_pending", "{}", ""),
        ("reversal", "payment_refunded", "{}", ""),
        ("reversal", None, "{}", "Money for a deleted account"),
        ("adjustment", None, "{}", "Debt repaid"),
    }
    assert rows(engine, "SELECT result, result_details::text, needs_review FROM payment_events") == {
        ("credited", "{}", False),
        ("payment_state", '{"payment_status": "succeeded"}', False),
        ("payment_state", '{"payment_status": "canceled"}', True),
        ("payment_unknown", "{}", False),
        ("dispute_state", '{"reversal_state": "won"}', True),
        ("account_deleted", "{}", True),
        ("amount_exceeds_payment", '{"left": "200.00", "refunded": "300.00"}', True),
        ("amount_differs", '{"booked": "2.00", "refunded": "3.00"}', True),
        ("amount_mismatch", "{}", True),
        ("dispute_unknown", "{}", True),
    }
    assert rows(engine, "SELECT cause, reason, end_cause, note FROM payment_reversals") == {
        ("refunded_at_provider", "", "failed_at_provider", ""),
        (None, "Refunded at the provider", None, ""),
    }
    assert rows(engine, "SELECT error, error_details::text FROM webhook_deliveries") == {
        ("tls_failed", "{}"),
        ("timeout", "{}"),
        ("certificate_invalid", '{"text": "self-signed"}'),
    }
    assert rows(engine, "SELECT faults::text FROM ledger_checks") == {('{"debtor_balance": ["x"]}',)}
    flask_migrate.downgrade(revision="0100_message_codes")
    flask_migrate.downgrade(revision="-1")
    assert ("Token for 24 h",) in rows(engine, "SELECT description FROM transfers")
    assert ("review: the payment is canceled",) in rows(engine, "SELECT result FROM payment_events")
