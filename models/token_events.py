"""Token events after the purchase: what its owner sees beside pauses and outage credit."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, UuidKey, Znc, enum_column


class TokenEventKind(StrEnum):
    """The kinds of token events."""

    EXTENDED = "extended"
    RENEWED = "renewed"
    ROTATED = "rotated"


class TokenEvent(Base):
    """One event, with the seconds added and their cost in ZNC; a rotation adds none."""

    __tablename__ = "token_events"
    __table_args__ = (
        CheckConstraint("seconds >= 0 AND price >= 0", name="not_negative"),
        Index("ix_token_events_token_id_happened_at", "token_id", "happened_at"),
    )

    id: Mapped[UuidKey]
    token_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("access_tokens.id", ondelete="RESTRICT"))
    kind: Mapped[TokenEventKind] = mapped_column(enum_column(TokenEventKind))
    happened_at: Mapped[datetime]
    seconds: Mapped[int] = mapped_column(BigInteger, default=0)
    price: Mapped[Znc] = mapped_column(default=0)
