"""Databases for tests with real commits: copies of a migrated template that are emptied and used again.

A copy costs 0.2 s of processor time, emptying it a tenth of that.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2 spells the class like this
from psycopg2.sql import SQL, Identifier
from sqlalchemy import make_url

from models.tables import Base

# A larger database is not used again: its statistics would make the planner choose other plans.
MOST_GROWTH_BYTES = 4 * 1024 * 1024
# Changes with every table, column, constraint, index, trigger, function, extension and setting of the database.
_SCHEMA = " UNION ALL ".join(
    f"SELECT '{name}', count(*), coalesce(max(xmin::text::bigint), 0) FROM {name}"
    for name in (
        *("pg_class", "pg_attribute", "pg_attrdef", "pg_constraint", "pg_index", "pg_trigger", "pg_proc"),
        *("pg_namespace", "pg_extension", "pg_type"),
    )
) + (
    " UNION ALL SELECT 'settings', count(*), 0 FROM pg_db_role_setting"
    " WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)
_WITH_TRIGGERS = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
_SEQUENCES = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"

type Schema = list[tuple[str, int, int]]


def connect(url: str) -> Connection:
    """Open a connection to a SQLAlchemy URL, without SQLAlchemy's pool."""
    return psycopg2.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


class Emptying:
    """Empties databases that were copied from one template."""

    def __init__(self, template_url: str) -> None:
        # Referencing tables first.
        self._tables = [*(table.name for table in reversed(Base.metadata.sorted_tables)), "alembic_version"]
        with closing(connect(template_url)) as connection, connection.cursor() as cursor:
            self._rows = _rows(connection, self._tables)
            cursor.execute(_WITH_TRIGGERS)
            self._with_triggers = [name for (name,) in cursor.fetchall()]
            self._most_bytes = _size(connection) + MOST_GROWTH_BYTES
            self.schema = _schema(connection)  # a copy has the same one

    def empty(self, url: str, schema: Schema) -> Schema | None:
        """Give a database the template's rows and return its schema; None if it must not be used again.

        That is the case when its schema differs from `schema`, it has grown, or somebody is still connected, who might
        write to it later.
        """
        try:
            with closing(connect(url)) as connection:
                return self._empty(connection, schema)
        except psycopg2.Error:
            return None  # the test has changed it in a way that is not foreseen here

    def _empty(self, connection: Connection, schema: Schema) -> Schema | None:
        with connection, connection.cursor() as cursor:
            cursor.execute(_OTHERS)
            if cursor.fetchone() != (0,) or _schema(connection) != schema or _size(connection) > self._most_bytes:
                return None
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            exists = SQL(", ").join(SQL("EXISTS (SELECT FROM {})").format(Identifier(name)) for name in self._tables)
            cursor.execute(SQL("SELECT ARRAY[{}]").format(exists))
            [found] = cursor.fetchone() or ()
            filled = [name for name, is_filled in zip(self._tables, found, strict=True) if is_filled]
            guarded = [name for name in filled if name in self._with_triggers]
            for name in guarded:
                cursor.execute(SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(Identifier(name)))
            for name in filled:
                cursor.execute(SQL("DELETE FROM {}").format(Identifier(name)))
            for name in guarded:
                cursor.execute(SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(Identifier(name)))
            for name in reversed(self._tables):
                if self._rows[name]:
                    cursor.copy_expert(
                        SQL("COPY {} FROM STDIN").format(Identifier(name)), io.StringIO(self._rows[name])
                    )
            cursor.execute(_SEQUENCES)
        return _schema(connection)


class DatabasePool:
    """Databases that are not in use, each with its schema."""

    def __init__(self, make: Callable[[], str], template_url: str) -> None:
        self._make = make
        self._emptying = Emptying(template_url)
        self._free: list[tuple[str, Schema]] = []

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a database with the template's rows."""
        url, schema = self._free.pop() if self._free else (self._make(), self._emptying.schema)
        yield url
        after = self._emptying.empty(url, schema)
        if after is not None:
            self._free.append((url, after))


def rows(url: str) -> Mapping[str, str]:
    """Return the rows of every table of a database, as COPY writes them."""
    with closing(connect(url)) as connection:
        return _rows(connection, [*(table.name for table in Base.metadata.sorted_tables), "alembic_version"])


def _rows(connection: Connection, names: list[str]) -> dict[str, str]:
    found = {}
    with connection.cursor() as cursor:
        for name in names:
            text = io.StringIO()
            cursor.copy_expert(SQL("COPY {} TO STDOUT").format(Identifier(name)), text)
            found[name] = text.getvalue()
    return found


def _schema(connection: Connection) -> Schema:
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
        return sorted(cursor.fetchall())


def _size(connection: Connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        [size] = cursor.fetchone() or (0,)
        return int(size)
