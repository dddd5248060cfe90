"""What a page asks of the database: the statements, and which of them read a whole table."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event, text

# What belongs to the transaction and asks for nothing.
_FRAME = ("SAVEPOINT", "RELEASE", "ROLLBACK")
_READS = ("SELECT", "WITH")
_BY_INDEX = {"Index Scan", "Index Only Scan"}
# A limit that is reached after so small a part of the work makes a scan end early.
EARLY_SHARE = 4
# Steps of a plan that ask for no more rows than are asked of them.
_PASS_THROUGH = {"Nested Loop", "Subquery Scan", "Result"}


@dataclass(frozen=True, slots=True)
class Query:
    """A statement with its parameters, as the driver takes them."""

    statement: str
    parameters: Any


@dataclass
class RecordedQueries:
    """The statements that were run while somebody listened."""

    queries: list[Query] = field(default_factory=list)

    def take(self, *arguments: Any) -> None:
        """Keep a statement: SQLAlchemy's `before_cursor_execute`."""
        statement, parameters = arguments[2], arguments[3]
        if not statement.lstrip().startswith(_FRAME):
            self.queries.append(Query(statement, parameters))


@contextmanager
def record_queries() -> Iterator[RecordedQueries]:
    """Listen to all statements of this process."""
    found = RecordedQueries()
    event.listen(Engine, "before_cursor_execute", found.take)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", found.take)


def big_tables(connection: Connection, rows: int) -> set[str]:
    """Name the tables that have at least so many rows, as the last ANALYZE saw them."""
    names = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= :rows")
    return set(connection.scalars(names, {"rows": rows}))


def full_scans(
    connection: Connection, queries: Sequence[Query], big: set[str], *, are_small: bool = False
) -> list[str]:
    """Return `table: statement` for each query whose plan reads one of the big tables from end to end.

    Where the tables `are_small`, one index is as good as another, and it is enough that there is one.
    """
    found = []
    for query in queries:
        if not query.statement.lstrip().startswith(_READS):
            continue
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {query.statement}", query.parameters)
        tables = set(_scanned_tables(explained.scalar_one()[0]["Plan"], are_small=are_small))
        found += [f"{table}: {' '.join(query.statement.split())}" for table in sorted(tables & big)]
    return found


def _scanned_tables(node: dict[str, Any], *, are_small: bool, ends_early: bool = False) -> Iterator[str]:
    """Name the tables that a plan reads from end to end: as they lie, or by an index that does not help to find.

    A scan right below a limit ends early where most rows are what it looks for, unless rows are sorted or added up in
    between.
    """
    kind = node["Node Type"]
    by_chance = not are_small and kind in _BY_INDEX and "Filter" in node and "Index Cond" not in node
    if (kind == "Seq Scan" or by_chance) and not ends_early:
        yield node["Relation Name"]
    for below in node.get("Plans", ()):
        stops = kind == "Limit" and node["Total Cost"] <= below["Total Cost"] / EARLY_SHARE
        goes_on = stops or (ends_early and kind in _PASS_THROUGH)
        yield from _scanned_tables(below, are_small=are_small, ends_early=goes_on)
