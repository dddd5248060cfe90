"""Usage by day: what went through, of each token and of the whole platform."""

import uuid
from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

_NOT_NEGATIVE = "requests >= 0 AND bytes_in >= 0 AND bytes_out >= 0 AND sessions >= 0"


class TokenUsageDay(Base):
    """What one token carried on one day of its owner's time zone, written with the counts of its sessions only.

    `sessions` are those whose first request came on that day, so that days add up. There are no foreign keys: the ids
    are copied from a session that has them, and their check would lock the token's row after its session's, against
    the order that everybody else keeps.
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
    """What all tokens together carried on one day (UTC), kept beside their own days by the same statement."""

    __tablename__ = "usage_days"
    __table_args__ = (CheckConstraint(_NOT_NEGATIVE, name="not_negative"),)

    day: Mapped[date] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    bytes_in: Mapped[int] = mapped_column(BigInteger)
    bytes_out: Mapped[int] = mapped_column(BigInteger)
    sessions: Mapped[int] = mapped_column(BigInteger)
