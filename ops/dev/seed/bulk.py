"""Bulk loading: indexes and constraints are dropped, and rebuilt once at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

_FOREIGN = text("""
    SELECT CAST(CAST(conrelid AS regclass) AS text), conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype = 'f'
        AND CAST(:tables AS regclass[]) && ARRAY[CAST(conrelid AS regclass), CAST(confrelid AS regclass)]
    """)
_KEYS = text("""
    SELECT CAST(CAST(conrelid AS regclass) AS text), conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype IN ('p', 'u') AND conrelid = ANY(CAST(:tables AS regclass[]))
    """)
_INDEXES = text("""
    SELECT CAST(CAST(i.indexrelid AS regclass) AS text), pg_get_indexdef(i.indexrelid) FROM pg_index i
    WHERE i.indrelid = ANY(CAST(:tables AS regclass[]))
        AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u'))
    """)


@dataclass(frozen=True, slots=True)
class DroppedIndexes:
    """The statements that rebuild the dropped indexes and constraints."""

    statements: list[str]


def drop_indexes(connection: Connection, tables: Sequence[str]) -> DroppedIndexes:
    """Drop the tables' indexes and keys; call `rebuild_indexes` in the same transaction."""
    names = {"tables": list(tables)}
    foreign, keys = connection.execute(_FOREIGN, names).all(), connection.execute(_KEYS, names).all()
    indexes = connection.execute(_INDEXES, names).all()
    for table, name, _ in (*foreign, *keys):
        connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
    for name, _ in indexes:
        connection.execute(text(f"DROP INDEX {name}"))
    constraints = [f"ALTER TABLE {table} ADD CONSTRAINT {name} {what}" for table, name, what in (*keys, *foreign)]
    return DroppedIndexes([*(definition for _, definition in indexes), *constraints])


def rebuild_indexes(connection: Connection, taken: DroppedIndexes) -> None:
    """Rebuild the dropped indexes and constraints."""
    for statement in taken.statements:
        connection.execute(text(statement))
