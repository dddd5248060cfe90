"""Outage credit: running time that a token lost to an outage and got back."""

import uuid

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, UuidKey
from models.outages import Outage


class OutageCredit(Base):
    """One token's credit for one outage, in seconds; zero for a token that was paused all the time.

    The unique index keeps the same minutes from being credited twice.
    """

    __tablename__ = "outage_credits"
    __table_args__ = (
        CheckConstraint("seconds >= 0", name="seconds_not_negative"),
        Index("uq_outage_credits_token_id_outage_id", "token_id", "outage_id", unique=True),
        Index("ix_outage_credits_outage_id", "outage_id"),
    )

    id: Mapped[UuidKey]
    outage_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("outages.id", ondelete="RESTRICT"))
    token_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("access_tokens.id", ondelete="RESTRICT"))
    seconds: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]

    outage: Mapped[Outage] = relationship()
