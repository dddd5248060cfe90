"""Usage reports by day, week or month: of a token, of a user, or of the platform.

Days of tokens are those of their owner's time zone when they were counted; days of the platform are UTC days. A session
counts on the day of its first request, so that days add up to weeks and months.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Date, Row, cast, func, select
from sqlalchemy.orm import Session

from models import clock, time_zones
from models.usage import TokenUsageDay, UsageDay

type _Days = type[TokenUsageDay] | type[UsageDay]


class Period(StrEnum):
    """The length of one period of a series."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


# How many periods a series shows, and how many days the API calls "the last" of each (docs/spec/http.md#json-api).
SHOWN = {Period.DAY: 30, Period.WEEK: 26, Period.MONTH: 12}
DAYS = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 30}


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage counts; bytes are body bytes, `bytes_in` are those sent by clients."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    sessions: int = 0

    @property
    def bytes_transferred(self) -> int:
        return self.bytes_in + self.bytes_out


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """One period of a series, by its first day."""

    first: date
    usage: Usage


def series(
    session: Session,
    period: Period,
    *,
    user_id: uuid.UUID | None = None,
    token_id: uuid.UUID | None = None,
    shown: int | None = None,
    zone: tzinfo = UTC,
) -> list[UsageEntry]:
    """Return the last periods, oldest first, the current one last; a period without usage is zero.

    With `user_id`, of that user's tokens; with `token_id`, of that token; with neither, of all. `zone` determines the
    current day.
    """
    days = _days(user_id, token_id)
    starts = _starts(period, shown or SHOWN[period], time_zones.day_of(clock.now(), zone))
    start = cast(func.date_trunc(period.value, days.day), Date)
    rows = session.execute(
        select(start, *_sums(days)).where(days.day >= starts[0], *_whose(user_id, token_id)).group_by(start)
    )
    found = {row[0]: _usage(row[1:]) for row in rows}
    return [UsageEntry(first, found.get(first, Usage())) for first in starts]


def total(
    session: Session,
    *,
    user_id: uuid.UUID | None = None,
    token_id: uuid.UUID | None = None,
    last_days: int | None = None,
    zone: tzinfo = UTC,
) -> Usage:
    """Return the sum over the last days in a zone, today included; without `last_days` the all-time sum."""
    days = _days(user_id, token_id)
    query = select(*_sums(days)).where(*_whose(user_id, token_id))
    if last_days is not None:
        query = query.where(days.day > time_zones.day_of(clock.now(), zone) - timedelta(days=last_days))
    return _usage(session.execute(query).one())


def sum_entries(entries: Iterable[UsageEntry]) -> Usage:
    """Return the sum of a series."""
    used = [entry.usage for entry in entries]
    return Usage(
        requests=sum(one.requests for one in used),
        bytes_in=sum(one.bytes_in for one in used),
        bytes_out=sum(one.bytes_out for one in used),
        sessions=sum(one.sessions for one in used),
    )


def _days(user_id: uuid.UUID | None, token_id: uuid.UUID | None) -> _Days:
    """Return the table to read: the platform's sums are stored, not computed."""
    return UsageDay if user_id is None and token_id is None else TokenUsageDay


def _whose(user_id: uuid.UUID | None, token_id: uuid.UUID | None) -> list[ColumnElement[bool]]:
    wanted = ((TokenUsageDay.user_id, user_id), (TokenUsageDay.token_id, token_id))
    return [its == one for its, one in wanted if one is not None]


def _sums(days: _Days) -> list[ColumnElement[int]]:
    counted = (days.requests, days.bytes_in, days.bytes_out, days.sessions)
    return [func.coalesce(func.sum(column), 0) for column in counted]


def _usage(figures: Sequence[Any] | Row[Any]) -> Usage:
    return Usage(*(int(figure) for figure in figures))


def _starts(period: Period, count: int, today: date) -> list[date]:
    """Return the first days of the last `count` periods, oldest first; weeks begin on Monday, as in PostgreSQL."""
    match period:
        case Period.DAY:
            return [today - timedelta(days=back) for back in reversed(range(count))]
        case Period.WEEK:
            monday = today - timedelta(days=today.weekday())
            return [monday - timedelta(weeks=back) for back in reversed(range(count))]
        case Period.MONTH:
            months = today.year * 12 + today.month - 1
            return [date((months - back) // 12, (months - back) % 12 + 1, 1) for back in reversed(range(count))]
