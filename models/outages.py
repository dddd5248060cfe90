"""Outages: our own record of upstream downtime."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, UuidKey


class Outage(Base):
    """One outage, from the first failed probe to the successful one that closed it.

    `last_failed_at` is the last failure that we observed; the partial unique index allows one open outage.
    """

    __tablename__ = "outages"
    __table_args__ = (
        Index("uq_outages_open", text("(closed_at IS NULL)"), unique=True, postgresql_where=text("closed_at IS NULL")),
        CheckConstraint("last_failed_at >= opened_at", name="failed_after_opened"),
        CheckConstraint("closed_at >= last_failed_at", name="closed_after_failed"),
        CheckConstraint("credited_at IS NULL OR closed_at IS NOT NULL", name="credited_after_closed"),
    )

    id: Mapped[UuidKey]
    opened_at: Mapped[datetime] = mapped_column(index=True)
    last_failed_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    # When all credits were booked; see models/services/tokens/outage_credit.py.
    credited_at: Mapped[datetime | None]
    # Sums of its credits, updated with them.
    credited_tokens: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    credited_seconds: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
