"""Schemas of usage statistics."""

import datetime

from pydantic import Field

from models.services.reports import usage
from models.services.reports.usage import Period
from portal.api.schemas.common import Money, Schema


class UsageQuery(Schema):
    """Period of the statistics."""

    period: Period = Field(Period.DAY, description="The last day, 7 days, or 30 days.")


class Counts(Schema):
    """Requests and bytes; bytes are those of bodies, in both directions."""

    requests: int
    bytes_in: int
    bytes_out: int
    bytes_transferred: int
    sessions: int


class Day(Counts):
    """Requests and bytes of one day in the user's time zone."""

    date: datetime.date


class Usage(Counts):
    """A user's usage over a period, today included; days are those of the `time_zone` of the user."""

    period: Period
    active_tokens: int
    days: list[Day]


class GlobalStats(Counts):
    """Statistics of the whole shop; revenue is sales minus refunds, in ZNC."""

    users: int
    active_users: int
    active_tokens: int
    active_sessions: int
    revenue: Money
    purchases: int


def counts(used: usage.Usage) -> dict[str, int]:
    """Return the fields of `Counts`."""
    return {name: getattr(used, name) for name in Counts.model_fields}


_COUNTS = {"requests": 1200, "bytes_in": 5000, "bytes_out": 90000, "bytes_transferred": 95000, "sessions": 3}
USAGE_EXAMPLE = {
    **_COUNTS,
    "period": "day",
    "active_tokens": 2,
    "days": [{"date": "2026-11-24", **_COUNTS}],
}
STATS_EXAMPLE = {
    **_COUNTS,
    "users": 42,
    "active_users": 40,
    "active_tokens": 17,
    "active_sessions": 5,
    "revenue": "4210.50",
    "purchases": 260,
}
