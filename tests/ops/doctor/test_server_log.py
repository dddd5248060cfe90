"""PostgreSQL's log holds no password hash, secret or address, also when a statement fails or is slow.

PostgreSQL's manual, "Error Reporting and Logging": log_min_error_statement controls which failing statements are
logged, and TERSE excludes DETAIL, HINT, QUERY and CONTEXT.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import yaml
from sqlalchemy import create_engine, text

from ops.bootstrap import REPOSITORY
from ops.doctor import server_log
from ops.servers import PostgresServer, postgres

VALUES = ("hash-of-a-password", "someone@example.test", "a-secret-word")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("log")
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    with PostgresServer(folder / "postgres", fast=True) as started:
        yield started


def fail_in_every_way(url: str) -> None:
    """Run statements with values that violate a unique index, a check and a type, and one that is too slow."""
    address, hashed, secret = VALUES[1], VALUES[0], VALUES[2]
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE people (email text UNIQUE, hash text CHECK (hash <> ''))")
        cursor.execute("INSERT INTO people VALUES (%s, %s)", (address, hashed))
        cursor.execute("SET statement_timeout = 50")
        for statement in (
            "INSERT INTO people VALUES (%(address)s, %(hashed)s)",
            "INSERT INTO people SELECT %(secret)s, '' WHERE %(hashed)s <> ''",
            "SELECT pg_sleep(1), %(secret)s, %(hashed)s",
            "SELECT nothing, %(secret)s FROM people",
        ):
            with pytest.raises(psycopg2.Error):
                cursor.execute(statement, {"address": address, "hashed": hashed, "secret": secret})
    connection.close()


def test_36_no_failed_or_slow_statement_leaves_values_in_the_server_log(
    server: PostgresServer,
) -> None:
    fail_in_every_way(server.url)
    logged = server._log.read_text(encoding="utf-8")
    assert "duplicate key value violates unique constraint" in logged
    assert [value for value in VALUES if value in logged] == []


def test_the_doctor_finds_a_server_that_logs_values(server: PostgresServer) -> None:
    engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.connect() as connection:
        [finding] = server_log.examine(connection)
        assert finding.is_well
    admin = psycopg2.connect(server._address(postgres.ADMIN, postgres.ROLE))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("ALTER ROLE zenzefi SET log_min_error_statement = error")
        cursor.execute("ALTER ROLE zenzefi SET log_min_duration_statement = 500")
    admin.close()
    engine.dispose()
    with engine.connect() as connection:
        [finding] = server_log.examine(connection)
        assert connection.scalar(text("SHOW log_min_error_statement")) == "error"
    assert not finding.is_well
    assert finding.seen == "log_min_error_statement = error, log_min_duration_statement = 500ms"
    engine.dispose()


def test_compose_and_the_documented_settings_match_those_of_the_private_server() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    given = dict(part[2:].split("=", 1) for part in compose["services"]["postgres"]["command"][1:])
    assert given.items() >= postgres.QUIET_LOG.items()
    recipe = Path(REPOSITORY / "docs/TROUBLESHOOTING.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^(log_\w+) = (\S+)", recipe, re.MULTILINE))
    assert told == postgres.QUIET_LOG
