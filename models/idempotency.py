"""Stored API replies for idempotent requests, kept for 24 hours."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Moment, UuidKey


class IdempotentReply(Base):
    """One reply under its Idempotency-Key.

    The key is stored as a keyed hash; the reply, which may contain a token's secret, is encrypted for this row. Both
    are written in the transaction that moved the money. `body` is empty only within that transaction.
    """

    __tablename__ = "api_replies"

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    status: Mapped[int]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Moment]
    expires_at: Mapped[datetime] = mapped_column(index=True)
