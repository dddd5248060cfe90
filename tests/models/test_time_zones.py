"""Time zones: day boundaries across clock changes and unusual offsets; and setting a user's zone."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy.orm import Session

from models import time_zones
from models.audit import AuditAction
from models.services.accounts import time_zones as zones
from models.services.actor import PLATFORM
from models.services.errors import InvalidInput
from models.users import User
from tests.factories import actions


@pytest.mark.parametrize(
    ("name", "day", "start"),
    [
        # According to the IANA time zone database.
        ("UTC", date(2026, 11, 29), datetime(2026, 11, 29, tzinfo=UTC)),
        ("Europe/Moscow", date(2026, 11, 29), datetime(2026, 11, 28, 21, tzinfo=UTC)),
        ("Asia/Kathmandu", date(2026, 11, 29), datetime(2026, 11, 28, 18, 15, tzinfo=UTC)),
        ("America/New_York", date(2026, 3, 8), datetime(2026, 3, 8, 5, tzinfo=UTC)),
        ("America/New_York", date(2026, 3, 9), datetime(2026, 3, 9, 4, tzinfo=UTC)),
        # Midnight of that day was skipped: the clock went from 00:00 to 01:00.
        ("Africa/Cairo", date(2026, 4, 24), datetime(2026, 4, 23, 22, tzinfo=UTC)),
    ],
)
def test_a_day_begins_at_the_midnight_of_its_zone(name: str, day: date, start: datetime) -> None:
    zone = time_zones.zone_of(name)
    assert time_zones.start_of(day, zone) == start
    assert time_zones.day_of(start, zone) == day
    assert time_zones.starts_of(day, day, zone)[0] == start


def test_an_unknown_zone_is_read_as_utc() -> None:
    assert time_zones.zone_of("Mars/Olympus_Mons") is UTC
    assert time_zones.zone_of(None) is UTC
    assert time_zones.label_of(datetime(2026, 11, 29, tzinfo=UTC), "Mars/Olympus_Mons") == "UTC"


@pytest.mark.parametrize(("hour", "minutes"), [(0, 60), (1, 0)])
def test_offsets_change_with_daylight_saving_time(hour: int, minutes: int) -> None:
    # Summer time ends in London on 25 October 2026, 01:00 UTC.
    offsets = time_zones.offsets_at(datetime(2026, 10, 25, hour, 14, 59, tzinfo=UTC))
    assert (offsets["Europe/London"], offsets["Asia/Kathmandu"], offsets["UTC"]) == (minutes, 345, 0)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Europe/Moscow", "Europe/Moscow (UTC+3)"),
        ("Asia/Kathmandu", "Asia/Kathmandu (UTC+5:45)"),
        ("America/St_Johns", "America/St_Johns (UTC-3:30)"),
        ("Europe/London", "Europe/London (UTC)"),
        ("UTC", "UTC"),
    ],
)
def test_a_zone_is_written_with_its_utc_offset(name: str, label: str) -> None:
    assert time_zones.label_of(datetime(2026, 11, 29, tzinfo=UTC), name) == label


def test_the_browsers_zone_is_stored_once_and_the_users_choice_stays(session: Session, alice: User) -> None:
    for nonsense in ("", "posix/UTC", "../etc/passwd", "Factory", "Europe/Nowhere", "x" * 500, "\0"):
        zones.set_if_empty(session, alice, nonsense)
        assert alice.time_zone is None
    zones.set_if_empty(session, alice, "Asia/Calcutta")
    zones.set_if_empty(session, alice, "Europe/Moscow")
    assert alice.time_zone == "Asia/Calcutta"
    zones.set_time_zone(session, alice, "Europe/Moscow", actor=PLATFORM)
    zones.set_if_empty(session, alice, "Asia/Calcutta")
    assert alice.time_zone == "Europe/Moscow"
    assert actions(session, alice)[-1] is AuditAction.USER_CHANGED
    with pytest.raises(InvalidInput):
        zones.set_time_zone(session, alice, "Europe/Nowhere", actor=PLATFORM)
