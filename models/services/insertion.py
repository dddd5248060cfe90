"""Inserting rows that a unique index may refuse, without an error.

PostgreSQL writes a failed statement and the duplicate key into its log: the address of an account, a password hash.
ON CONFLICT DO NOTHING decides the same, also between two transactions at once, and logs nothing.
"""

from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.base import Base


def insert_unless_taken[Row: Base](session: Session, kind: type[Row], **values: Any) -> Row | None:
    """Insert a row and return it; None when a unique index holds one like it, also one that was committed meanwhile."""
    row = insert(kind).values(**values).on_conflict_do_nothing().returning(kind)
    return session.scalars(row).one_or_none()
