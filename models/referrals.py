"""Referral bonuses: rewards for referred users."""

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Short, UuidKey, Znc


class ReferralBonus(Base):
    """The one bonus for one referred user: held until the purchase that earned it can no longer be refunded.

    `price` is the part of the purchase paid with the buyer's own money. `returned` was deducted for refunds of that
    purchase, and `withheld` because the buyer's money was reversed or is owed; the rest is paid out at `ended_at`.
    """

    __tablename__ = "referral_bonuses"
    __table_args__ = (
        CheckConstraint("referrer_id <> referred_id", name="nobody_refers_himself"),
        CheckConstraint("returned BETWEEN 0 AND amount AND amount > 0", name="amounts"),
        CheckConstraint("withheld BETWEEN 0 AND amount - returned", name="withheld_within"),
        Index("ix_referral_bonuses_held", "created_at", postgresql_where=text("ended_at IS NULL")),
        Index("ix_referral_bonuses_withheld", "created_at", postgresql_where=text("withheld > 0")),
        Index("ix_referral_bonuses_reference", "reference_type", "reference_id"),
    )

    id: Mapped[UuidKey]
    referrer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    referred_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), unique=True)
    reference_type: Mapped[Short]
    reference_id: Mapped[uuid.UUID]
    price: Mapped[Znc]
    amount: Mapped[Znc]
    returned: Mapped[Znc] = mapped_column(default=0, server_default=text("0"))
    withheld: Mapped[Znc] = mapped_column(default=0, server_default=text("0"))
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[datetime | None]

    @property
    def left(self) -> Decimal:
        """The referrer's present or future amount."""
        return self.amount - self.returned - self.withheld
