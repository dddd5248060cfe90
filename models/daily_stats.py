"""Daily statistics of the platform, written by a job and by triggers, and read by the admin dashboard."""

from datetime import date
from decimal import Decimal

from sqlalchemy import BigInteger, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Short, Znc
from models.time_zones import DEFAULT


class DailyStats(Base):
    """What one day brought, in the platform's time zone. The job counts today and yesterday anew; older days stay.

    After a change of the zone all days are counted anew.
    """

    __tablename__ = "day_figures"

    day: Mapped[date] = mapped_column(primary_key=True)
    sold_znc: Mapped[Znc]
    revenue_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    new_users: Mapped[int]
    purchases: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    time_zone: Mapped[Short] = mapped_column(default=DEFAULT, server_default=text(f"'{DEFAULT}'"))


class DailyPayments(Base):
    """What was paid through one provider on one day (UTC), by the time it was settled, and what was booked for that.

    Triggers of `payments` and `transfers` keep it, each from its own rows: it is as true as they are at any moment, and
    a payment without its deposit shows.
    """

    __tablename__ = "payment_days"

    day: Mapped[date] = mapped_column(primary_key=True)
    provider: Mapped[Short] = mapped_column(primary_key=True)
    payments: Mapped[int] = mapped_column(BigInteger)
    paid_rub: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    paid_znc: Mapped[Znc]
    booked_znc: Mapped[Znc]
