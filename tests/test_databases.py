"""The tests' own databases: one that is used again is like a fresh copy of the template."""

from sqlalchemy import text

from models import database
from models.config import settings as config
from tests.conftest import SECRETS, make_user
from tests.databases import DatabasePool, connect, rows
from tests.factories import buy


def test_a_used_database_is_emptied_and_used_again(pool: DatabasePool) -> None:
    with pool.database() as url:
        before = rows(url)
        settings = config.load_settings({**SECRETS, "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1"})
        engine = database.connect(settings.database)
        with database.sessions(engine).begin() as session:
            buy(session, make_user(session, "alice", balance="100"), settings)
            session.execute(text("UPDATE accounts SET balance = balance + 1 WHERE kind = 'sales'"))
            session.execute(text("DELETE FROM bundles"))
        assert rows(url) != before
        engine.dispose()
    with pool.database() as again:
        assert again == url
        assert rows(again) == before


def test_a_database_with_another_schema_or_an_open_connection_is_not_used_again(pool: DatabasePool) -> None:
    used = set()
    for statement in ("CREATE TABLE added (id int)", "DROP INDEX ix_access_tokens_prefix", "SELECT 1"):
        with pool.database() as url:
            assert url not in used
            used.add(url)
            connection = connect(url)
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
            if statement != "SELECT 1":
                connection.close()
    with pool.database() as url:
        assert url not in used
    connection.close()
