"""Usage by day, for each token and for the whole platform."""

import uuid
from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

_NOT_NEGATIVE = "requests >= 0 AND bytes_in >= 0 AND bytes_out >= 0 AND sessions >= 0"


class TokenUsageDay(Base):
    """One token's usage on one day of its owner's time zone, updated with its sessions' counts.

    `sessions` are those whose first request was on that day, so that days add up. There are no foreign keys: the ids
    are copied from a session that has them, and their check would lock the token's row after its session's, against the
    lock order.
    """

    __tablename__ = "token_usage_days"
    __table_args__ = (
        Index("ix_token_usage_days_user_id_day", "user_id", "day"),
        CheckConstraint(_NOT_NEGATIVE, name="not_negative"),
    )

    token_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID]
    requests: Mapped[int] = mapped_column(BigInteger)
    bytes_in: Mapped[int] = mapped_column(BigInteger)
    bytes_out: Mapped[int] = mapped_column(BigInteger)
    sessions: Mapped[int] = mapped_column(BigInteger)


class UsageDay(Base):
    """The usage of all tokens on one UTC day, updated by the same statement."""

    __tablename__ = "usage_days"
    __table_args__ = (CheckConstraint(_NOT_NEGATIVE, name="not_negative"),)

    day: Mapped[date] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    bytes_in: Mapped[int] = mapped_column(BigInteger)
    bytes_out: Mapped[int] = mapped_column(BigInteger)
    sessions: Mapped[int] = mapped_column(BigInteger)
