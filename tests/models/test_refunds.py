"""What comes back for unused time, and when a token expires: pure arithmetic on its columns."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from models.config import Settings
from models.services import revoking
from models.shop_sections import Refund
from models.tokens import AccessToken, TokenState

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 86400


def token(*, price: str = "18", hours: int = 24, activated: bool = True, **columns: object) -> AccessToken:
    """A token that was first used at START, in memory only."""
    facts = {
        "paid_seconds": hours * 3600,
        "paused_seconds": 0,
        "pause_limit_seconds": 0,
        "credited_seconds": 0,
        **columns,
    }
    return AccessToken(
        price_paid=Decimal(price), duration_hours=hours, activated_at=START if activated else None, **facts
    )


REFUNDS = [
    # (what happened, the token's columns, hours since first use, prorata, list)
    ("never used", {"activated": False}, 500, "18.00", "18.00"),
    ("just started", {}, 0, "18.00", "17.00"),
    ("a second used", {}, 1 / 3600, "17.99", "17.00"),
    ("half used", {}, 12, "9.00", "8.00"),
    ("a minute more than half", {}, 12 + 1 / 60, "8.98", "0.00"),
    ("almost all used", {}, 24 - 1 / 3600, "0.00", "0.00"),
    ("all used", {}, 24, "0.00", "0.00"),
    ("long over", {}, 1000, "0.00", "0.00"),
    (
        "half used, the rest in a pause",
        {"paused_at": START + 12 * HOUR, "pause_limit_seconds": 30 * DAY},
        400,
        "9.00",
        "8.00",
    ),
    (
        "a pause at its limit for an hour",
        {"paused_at": START + 12 * HOUR, "pause_limit_seconds": DAY},
        37,
        "8.25",
        "0.00",
    ),
    (
        "a pause at its limit for long",
        {"paused_at": START + 12 * HOUR, "pause_limit_seconds": DAY},
        800,
        "0.00",
        "0.00",
    ),
    ("paused before", {"paused_seconds": 6 * 3600}, 18, "9.00", "8.00"),
    ("outage credited", {"credited_seconds": 6 * 3600}, 18, "9.00", "8.00"),
    ("paused and credited", {"paused_seconds": 3600, "credited_seconds": 3600}, 14, "9.00", "8.00"),
    ("all of the use credited", {"credited_seconds": 12 * 3600}, 12, "18.00", "17.00"),
    ("more credited than ran", {"credited_seconds": DAY}, 1, "18.00", "17.00"),
    ("a third used, rounded down", {"price": "10", "hours": 12}, 4, "6.66", "0.00"),
    ("a gift", {"price": "0"}, 1, "0.00", "0.00"),
    ("longer than any in the list", {"price": "400", "paid_seconds": 1000 * 3600}, 750, "100.00", "100.00"),
    ("a month bought for a cheap hour", {"price": "300", "hours": 720}, 1, "299.58", "299.00"),
    ("a month, a day used", {"price": "300", "hours": 720}, 24, "290.00", "282.00"),
]


@pytest.mark.parametrize(
    ("columns", "hours", "prorata", "by_list"), [row[1:] for row in REFUNDS], ids=[r[0] for r in REFUNDS]
)
def test_what_comes_back_follows_the_contract(
    settings: Settings, columns: dict[str, object], hours: float, prorata: str, by_list: str
) -> None:
    moment = START + timedelta(hours=hours)
    due = revoking.refund_due(token(**columns), moment, settings)  # type: ignore[arg-type]
    assert due == Decimal(prorata)
    list_rate = settings.model_copy(update={"refund": Refund(used_time_rate="list")})
    due = revoking.refund_due(token(**columns), moment, list_rate)  # type: ignore[arg-type]
    assert due == Decimal(by_list)


def test_a_token_that_ran_for_an_instant_is_not_paid_back_in_full(settings: Settings) -> None:
    assert revoking.refund_due(token(), START + timedelta(milliseconds=1), settings) == Decimal("17.99")


def test_a_revoked_token_gives_nothing_back(settings: Settings) -> None:
    assert revoking.refund_due(token(revoked_at=START), START, settings) == 0


@pytest.mark.parametrize(
    ("columns", "minutes", "state", "left", "expires"),
    [
        ({}, 0, TokenState.ACTIVE, 3600, 60),
        ({}, 59, TokenState.ACTIVE, 60, 60),
        ({}, 60, TokenState.EXPIRED, 0, 60),
        ({"paused_seconds": 600}, 60, TokenState.ACTIVE, 600, 70),
        ({"credited_seconds": 600}, 65, TokenState.ACTIVE, 300, 70),
        ({"paused_seconds": 600, "credited_seconds": 600}, 80, TokenState.EXPIRED, 0, 80),
        ({"paused_at": START + HOUR / 2, "pause_limit_seconds": DAY}, 600, TokenState.PAUSED, 1800, None),
        ({"paused_at": START + HOUR / 2, "pause_limit_seconds": 1800}, 59, TokenState.PAUSED, 1800, None),
        ({"paused_at": START + HOUR / 2, "pause_limit_seconds": 1800}, 60, TokenState.ACTIVE, 1800, 90),
        ({"paused_at": START + HOUR / 2, "pause_limit_seconds": 1800}, 90, TokenState.EXPIRED, 0, 90),
        ({"revoked_at": START}, 1, TokenState.REVOKED, 3540, 60),
    ],
)
def test_expiry_is_computed_from_what_was_paid_paused_and_credited(
    columns: dict[str, object], minutes: int, state: TokenState, left: int, expires: int | None
) -> None:
    held, moment = token(hours=1, **columns), START + timedelta(minutes=minutes)  # type: ignore[arg-type]
    assert (held.state(moment), held.seconds_left(moment)) == (state, left)
    assert held.expiry(moment) == (None if expires is None else START + timedelta(minutes=expires))
