"""Refund and expiry arithmetic on a token's columns."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken, TokenState
from models.config.settings import Settings
from models.config.shop import Refund
from models.services.actor import PLATFORM
from models.services.gateway import sessions
from models.services.ledger import adjustments
from models.services.ledger import verification as ledger_verification
from models.services.tokens import bundles, extension, revocation
from models.users import User
from tests.conftest import Clock, make_user, some_id
from tests.factories import balance, buy, some_bundle

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = 86400


def token(*, price: str = "18", hours: int = 24, activated: bool = True, **columns: object) -> AccessToken:
    """A token activated at START, in memory only."""
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
    # (case, the token's columns, hours since activation, pro rata, list)
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
def test_refunds_follow_the_specification(
    settings: Settings, columns: dict[str, object], hours: float, prorata: str, by_list: str
) -> None:
    moment = START + timedelta(hours=hours)
    due = revocation.refund_due(token(**columns), moment, settings)  # type: ignore[arg-type]
    assert due == Decimal(prorata)
    list_rate = settings.model_copy(update={"refund": Refund(used_time_rate="list")})
    due = revocation.refund_due(token(**columns), moment, list_rate)  # type: ignore[arg-type]
    assert due == Decimal(by_list)


def test_a_token_that_ran_for_an_instant_is_not_refunded_in_full(settings: Settings) -> None:
    assert revocation.refund_due(token(), START + timedelta(milliseconds=1), settings) == Decimal("17.99")


def test_a_revoked_token_has_no_further_refund(settings: Settings) -> None:
    assert revocation.refund_due(token(revoked_at=START), START, settings) == 0


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
def test_expiry_is_computed_from_paid_paused_and_credited_time(
    columns: dict[str, object], minutes: int, state: TokenState, left: int, expires: int | None
) -> None:
    held, moment = token(hours=1, **columns), START + timedelta(minutes=minutes)  # type: ignore[arg-type]
    assert (held.state(moment), held.seconds_left(moment)) == (state, left)
    assert held.expiry(moment) == (None if expires is None else START + timedelta(minutes=expires))


def with_refund(settings: Settings, **rules: str) -> Settings:
    """The settings with other refund rules."""
    return settings.model_copy(update={"refund": Refund(**rules)})  # type: ignore[arg-type]


def at_prices(settings: Settings, **prices: str) -> Settings:
    """The settings with another price list: `h24="40"`."""
    listed = {int(hours[1:]): Decimal(price) for hours, price in prices.items()}
    return settings.model_copy(update={"prices": settings.prices.model_copy(update={"znc": listed})})


def test_used_time_is_charged_at_the_list_price_of_the_purchase(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    """A later change of a price does not affect earlier sales."""
    by_list = with_refund(settings, used_time_rate="list")
    sold = buy(session, alice, by_list)
    sessions.start_session(session, sold.id, device=None, rules=settings.sessions, actor=PLATFORM)
    time.advance(hours=2)
    session.flush()
    session.expire(sold)
    for later in (at_prices(by_list, h1="5", h12="17"), at_prices(by_list, h24="40"), at_prices(by_list, h1="0.01")):
        assert revocation.refund_preview(session, sold, later).amount == 8


def test_a_token_without_stored_price_list_is_charged_at_the_present_one(settings: Settings) -> None:
    dear = at_prices(with_refund(settings, used_time_rate="list"), h1="5")
    assert revocation.refund_due(token(), START + HOUR, dear) == 13


def ultimate(session: Session, settings: Settings) -> tuple[User, list[AccessToken]]:
    """A user with an Ultimate bundle: 20 tokens of 168 hours for 1600 ZNC instead of 2000."""
    rich = make_user(session, "rich", balance="1600")
    facts = {"purchase_id": some_id(), "settings": settings, "actor": PLATFORM}
    sold = bundles.purchase(session, rich, some_bundle(session, "Ultimate").id, **facts)[1]  # type: ignore[arg-type]
    session.flush()
    return rich, [made for made, _ in sold]


def revoke_all(session: Session, owner: User, tokens: Sequence[AccessToken], settings: Settings) -> Decimal:
    """Revoke one after the other; return the sum of the refunds."""
    facts = {"settings": settings, "actor": PLATFORM}
    return sum((revocation.revoke(session, owner, one.id, **facts)[1] for one in tokens), Decimal(0))  # type: ignore[arg-type]


def test_a_bundle_refunds_each_tokens_share_by_default(session: Session, settings: Settings) -> None:
    rich, sold = ultimate(session, settings)
    assert revoke_all(session, rich, sold[:19], settings) == 19 * 80


def test_kept_bundle_tokens_cost_their_list_price_with_bundle_rate_list(session: Session, settings: Settings) -> None:
    rule = with_refund(settings, bundle_rate="list")
    rich, sold = ultimate(session, rule)
    assert revoke_all(session, rich, sold[:4], rule) == 0
    assert revocation.refund_preview(session, sold[4], rule).amount == 100
    assert revoke_all(session, rich, sold[4:19], rule) == 1500
    assert revoke_all(session, rich, sold[19:], rule) == 100
    assert balance(session, rich) == 1600
    assert [rule for rule in ledger_verification.RULES if ledger_verification.failed_checks(session, rule)] == []


def test_used_and_extended_tokens_of_a_bundle_are_charged_alone_too(
    session: Session, settings: Settings, time: Clock
) -> None:
    rule = with_refund(settings, bundle_rate="list")
    rich, sold = ultimate(session, rule)
    adjustments.adjust(session, rich, amount=Decimal(100), reason="more", actor=PLATFORM)
    facts = {"hours": 168, "key": some_id(), "settings": rule, "actor": PLATFORM}
    extension.extend(session, rich, sold[0].id, **facts)  # type: ignore[arg-type]
    sessions.start_session(session, sold[0].id, device=None, rules=rule.sessions, actor=PLATFORM)
    time.advance(hours=168)
    assert revoke_all(session, rich, sold[1:], rule) == 1500
    # Half of two weeks at their list price is used.
    assert revoke_all(session, rich, sold[:1], rule) == 100
    assert [rule for rule in ledger_verification.RULES if ledger_verification.failed_checks(session, rule)] == []


def test_a_change_of_the_bundle_rate_between_two_revocations_refunds_no_more_than_was_paid(
    session: Session, settings: Settings
) -> None:
    rule = with_refund(settings, bundle_rate="list")
    rich, sold = ultimate(session, rule)
    first = revoke_all(session, rich, sold[:10], settings) + revoke_all(session, rich, sold[10:], rule)
    assert first == 1600
