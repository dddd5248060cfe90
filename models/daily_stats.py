"""Daily statistics of the platform, written by a job and by triggers, and read by the admin dashboard."""

from datetime import date
from decimal import Decimal

from sqlalchemy import BigInteger, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Short, Znc
from models.time_zones import DEFAULT


class DailyStats(Base):
    """Statistics of one day in the platform's time zone. The job updates today and yesterday; older days stay.

    After a change of the zone all days are recounted.
    """

    __tablename__ = "day_figures"

    day: Mapped[date] = mapped_column(primary_key=True)
    sold_znc: Mapped[Znc]
    revenue_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    new_users: Mapped[int]
    purchases: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    time_zone: Mapped[Short] = mapped_column(default=DEFAULT, server_default=text(f"'{DEFAULT}'"))


class DailyPayments(Base):
    """Payments through one provider on one UTC day, by settlement time, and what was booked for them.

    Triggers on `payments` and `transfers` keep it, each from its own rows, so a payment without its deposit shows.
    """

    __tablename__ = "payment_days"

    day: Mapped[date] = mapped_column(primary_key=True)
    provider: Mapped[Short] = mapped_column(primary_key=True)
    payments: Mapped[int] = mapped_column(BigInteger)
    paid_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    paid_znc: Mapped[Znc]
    booked_znc: Mapped[Znc]
