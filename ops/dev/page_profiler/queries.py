"""Recording of SQL queries, and detection of full table scans in their plans."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event, text

# Statements of the transaction itself.
_FRAME = ("SAVEPOINT", "RELEASE", "ROLLBACK")
_READS = ("SELECT", "WITH")
_BY_INDEX = {"Index Scan", "Index Only Scan"}
# A LIMIT that is reached after this fraction of the cost ends a scan early.
EARLY_SHARE = 4
# Plan nodes that read no more rows than their parent needs.
_PASS_THROUGH = {"Nested Loop", "Subquery Scan", "Result"}


@dataclass(frozen=True, slots=True)
class Query:
    """A statement with its parameters, as passed to the driver."""

    statement: str
    parameters: Any


@dataclass
class RecordedQueries:
    """The recorded statements."""

    queries: list[Query] = field(default_factory=list)

    def take(self, *arguments: Any) -> None:
        """Record a statement (SQLAlchemy's `before_cursor_execute`)."""
        statement, parameters = arguments[2], arguments[3]
        if not statement.lstrip().startswith(_FRAME):
            self.queries.append(Query(statement, parameters))


@contextmanager
def record_queries() -> Iterator[RecordedQueries]:
    """Record all statements of this process."""
    found = RecordedQueries()
    event.listen(Engine, "before_cursor_execute", found.take)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", found.take)


def big_tables(connection: Connection, rows: int) -> set[str]:
    """Return the tables with at least `rows` rows, as of the last ANALYZE."""
    names = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= :rows")
    return set(connection.scalars(names, {"rows": rows}))


def full_scans(
    connection: Connection, queries: Sequence[Query], big: set[str], *, are_small: bool = False
) -> list[str]:
    """Return `table: statement` for each query whose plan scans one of the big tables completely.

    With `are_small` tables any index scan counts as selective, since the planner then takes any index.
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
    """Yield the tables that a plan scans completely, sequentially or by an index without a condition.

    A scan below a LIMIT ends early when most rows match, unless rows are sorted or aggregated in between.
    """
    kind = node["Node Type"]
    by_chance = not are_small and kind in _BY_INDEX and "Filter" in node and "Index Cond" not in node
    if (kind == "Seq Scan" or by_chance) and not ends_early:
        yield node["Relation Name"]
    for below in node.get("Plans", ()):
        stops = kind == "Limit" and node["Total Cost"] <= below["Total Cost"] / EARLY_SHARE
        goes_on = stops or (ends_early and kind in _PASS_THROUGH)
        yield from _scanned_tables(below, are_small=are_small, ends_early=goes_on)
