"""Token pauses: periods in which a token's time was stopped."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, exists, false, text
from sqlalchemy.orm import Mapped, mapped_column

from models.access_tokens import AccessToken
from models.base import Base, UuidKey


class TokenPause(Base):
    """One pause, in whole seconds; `access_tokens.paused_seconds` is the sum of the ended ones.

    A current pause has no end; neither has one that a revocation met.
    """

    __tablename__ = "token_pauses"
    __table_args__ = (
        CheckConstraint("ended_at >= started_at", name="ended_after_started"),
        Index("ix_token_pauses_token_id_started_at", "token_id", "started_at"),
        Index("uq_token_pauses_open", "token_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[UuidKey]
    # Paused for a debt instead of by the owner: without a limit, and not counted as one of the owner's pauses.
    for_debt: Mapped[bool] = mapped_column(default=False, server_default=false())
    token_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("access_tokens.id", ondelete="RESTRICT"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


def is_paused_for_debt() -> ColumnElement[bool]:
    """Return in SQL whether a token's current pause lasts until its owner's debt is repaid."""
    return exists().where(TokenPause.token_id == AccessToken.id, TokenPause.ended_at.is_(None), TokenPause.for_debt)
