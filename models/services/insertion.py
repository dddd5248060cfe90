"""Insert a row unless a unique index refuses it, without an error.

PostgreSQL logs a failed statement with the duplicate key: an e-mail address, a password hash. ON CONFLICT DO NOTHING
decides the same, also between concurrent transactions, and logs nothing.
"""

from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.base import Base


def insert_unless_taken[Row: Base](session: Session, kind: type[Row], **values: Any) -> Row | None:
    """Insert a row and return it; None when a unique index has a matching one, also one committed concurrently."""
    row = insert(kind).values(**values).on_conflict_do_nothing().returning(kind)
    return session.scalars(row).one_or_none()
