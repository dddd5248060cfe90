"""Daily statistics of the platform: sales, revenue, purchases and new users, for the admin dashboard."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, DateTime, delete, func, select
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.orm import Session

from models import clock, time_zones
from models.daily_stats import DailyStats
from models.ledger import Transfer, TransferKind
from models.payments import Payment
from models.users import User

# The number of days shown on the dashboard.
DAYS = 30


def update_days(session: Session, zone_name: str = time_zones.DEFAULT) -> int:
    """Count today and yesterday again, and at first or after a change of the time zone all days; return how many.

    Days are those of the zone. The same ones may have been counted in another one before.
    """
    zone = time_zones.zone_of(zone_name)
    session.execute(delete(DailyStats).where(DailyStats.time_zone != zone_name))
    today = time_zones.day_of(clock.now(), zone)
    known = session.scalar(select(func.max(DailyStats.day)))
    first = min(today - timedelta(days=1), known) if known else _first_day(session, today, zone)
    starts = time_zones.starts_of(first, today, zone)
    bought = Transfer.kind == TransferKind.PURCHASE
    count = _by_day(session, Transfer.created_at, func.count(), starts, bought)
    sold = _by_day(session, Transfer.created_at, func.sum(Transfer.amount), starts, bought)
    paid = _by_day(session, Payment.settled_at, func.sum(Payment.amount_rub), starts)
    come = _by_day(session, User.created_at, func.count(), starts)
    days = [first + timedelta(days=number) for number in range((today - first).days + 1)]
    rows = [
        {
            "day": day,
            "sold_znc": sold.get(number, Decimal(0)),
            "revenue_rub": paid.get(number, Decimal(0)),
            "new_users": int(come.get(number, 0)),
            "purchases": int(count.get(number, 0)),
            "time_zone": zone_name,
        }
        for number, day in enumerate(days, start=1)
    ]
    statement = insert(DailyStats).values(rows)
    fresh = {name: statement.excluded[name] for name in ("sold_znc", "revenue_rub", "new_users", "purchases")}
    session.execute(statement.on_conflict_do_update(index_elements=[DailyStats.day], set_=fresh))
    return len(rows)


def _first_day(session: Session, today: date, zone: tzinfo) -> date:
    """Return the day of the first purchase or user, or the first that the admin dashboard shows, if that is earlier."""
    first = today - timedelta(days=DAYS - 1)
    for at in (Transfer.created_at, User.created_at):
        moment = session.scalar(select(func.min(at)))
        first = min(first, time_zones.day_of(moment, zone)) if moment else first
    return first


def _by_day(
    session: Session, at: Any, figure: ColumnElement[Any], starts: Sequence[datetime], *which: ColumnElement[bool]
) -> dict[int, Any]:
    """Return a figure of each day, by the number of the day from 1."""
    number = func.width_bucket(at, array(starts, type_=DateTime(timezone=True))).label("number")
    rows = session.execute(select(number, figure).where(at >= starts[0], *which).group_by("number"))
    return {row[0]: row[1] for row in rows}


def last_days(session: Session, today: date) -> Sequence[DailyStats]:
    """Return the last days, oldest first; a day that was not counted yet is a day of nothing."""
    first = today - timedelta(days=DAYS - 1)
    found = {row.day: row for row in session.scalars(select(DailyStats).where(DailyStats.day >= first))}
    nothing = {"sold_znc": Decimal(0), "revenue_rub": Decimal(0), "new_users": 0}
    days = [first + timedelta(days=number) for number in range(DAYS)]
    return [found.get(day) or DailyStats(day=day, **nothing) for day in days]
