"""Time zones: valid names, and day and month boundaries as UTC times that the database can compare.

Boundaries are computed with Python's time zone data. The database's edition may differ, so it is never asked which day
a time falls on.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

DEFAULT = "UTC"
_QUARTER = 15 * 60
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_AREAS = ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")


@cache
def names() -> frozenset[str]:
    """Return every valid zone: those that browsers report, and UTC."""
    return frozenset({DEFAULT, *(name for name in available_timezones() if name.partition("/")[0] in _AREAS)})


def zone_of(name: str | None) -> tzinfo:
    """Return a zone by its name; UTC for None and for unknown zones."""
    return ZoneInfo(name) if name and name != DEFAULT and name in names() else UTC


def day_of(moment: datetime, zone: tzinfo) -> date:
    """Return the day of a time in a zone."""
    return moment.astimezone(zone).date()


def start_of(day: date, zone: tzinfo) -> datetime:
    """Return when a day begins in a zone, in UTC; where a clock change skips midnight, the change itself."""
    try:
        return datetime.combine(day, time(), zone).astimezone(UTC)
    except OverflowError:
        # Parts of the first and the last possible day lie outside the range of datetime.
        return _FIRST if day.year == 1 else _LAST


def starts_of(first: date, last: date, zone: tzinfo) -> Sequence[datetime]:
    """Return when each day from `first` to `last` begins, and when the day after the last one does."""
    starts = [start_of(first + timedelta(days=number), zone) for number in range((last - first).days + 1)]
    return [*starts, _LAST if last == date.max else start_of(last + timedelta(days=1), zone)]


def offsets_at(moment: datetime) -> Mapping[str, int]:
    """Return each zone's offset from UTC at a time, in minutes."""
    # Zones change their clocks only at quarter hours.
    return _offsets_in(int(moment.timestamp()) // _QUARTER)


@lru_cache(maxsize=4)
def _offsets_in(quarter: int) -> Mapping[str, int]:
    moment = datetime.fromtimestamp(quarter * _QUARTER, UTC)
    return {name: _minutes(moment, zone_of(name)) for name in sorted(names())}


def _minutes(moment: datetime, zone: tzinfo) -> int:
    return int((moment.astimezone(zone).utcoffset() or timedelta()).total_seconds()) // 60


def offset_of(moment: datetime, zone: tzinfo) -> str:
    """Return a zone's offset from UTC at a time: `UTC`, `UTC+3`, `UTC-9:30`."""
    minutes = _minutes(moment, zone)
    hours, rest = divmod(abs(minutes), 60)
    if not minutes:
        return "UTC"
    return f"UTC{'+' if minutes > 0 else '-'}{hours}{f':{rest:02}' if rest else ''}"


def label_of(moment: datetime, name: str | None) -> str:
    """Return a zone's name with its offset at a time: `Europe/Moscow (UTC+3)`."""
    zone = zone_of(name)
    return DEFAULT if zone is UTC else f"{name} ({offset_of(moment, zone)})"
