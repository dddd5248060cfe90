"""Bundles and coupons: prices add up, limits hold, and each form acts once."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.bundles import Bundle
from models.config.settings import Settings
from models.coupons import Coupon, CouponUse
from models.database import Sessions
from models.services.actor import PLATFORM, Actor
from models.services.errors import (
    AccountDisabled,
    CouponRefused,
    DuplicateTransfer,
    InsufficientFunds,
    InvalidInput,
    NotFound,
)
from models.services.promotions import coupons, gift_codes
from models.services.tokens import bundles, revocation
from models.users import User
from tests.conftest import Clock, make_user, some_id
from tests.factories import actions, assert_sound, balance, buy, person, race


def bundle_named(session: Session, name: str = "Starter") -> Bundle:
    return session.scalars(select(Bundle).where(Bundle.name == name)).one()


def sell(session: Session, user: User, settings: Settings, name: str = "Starter", **more: Any) -> Any:
    facts = {"purchase_id": uuid.uuid4(), "settings": settings, "actor": Actor(user.id), **more}
    return bundles.purchase(session, user, bundle_named(session, name).id, **facts)


def coupon(session: Session, dana: User, code: str = "SPRING", **more: Any) -> Coupon:
    facts: dict[str, Any] = {"percent": Decimal(10), "amount": None, "uses_in_all": None, "uses_per_user": 1}
    return coupons.create(session, code=code, valid_until=None, actor=Actor(dana.id), **{**facts, **more})


def gift(session: Session, dana: User, settings: Settings, **more: Any) -> str:
    facts: dict[str, Any] = {"amount": Decimal(25), "count": 1, "uses_each": 1, "valid_until": None, "note": "fair"}
    return gift_codes.create(session, settings=settings, actor=Actor(dana.id), **{**facts, **more})[0]


@given(price=st.decimals("0.01", "5000", places=2), count=st.integers(2, 100))
def test_shares_add_up_exactly_and_differ_by_a_cent_at_most(price: Decimal, count: int) -> None:
    parts = bundles.shares(price, count)
    assert (sum(parts), len(parts)) == (price, count)
    assert max(parts) - min(parts) <= Decimal("0.01")


def test_the_default_bundles_have_the_specified_prices(session: Session, settings: Settings) -> None:
    on_sale = bundles.on_sale(session, settings).items
    found = [(bundle.name, bundles.price_of(bundle, settings)) for bundle in on_sale]
    assert [price.total for _, price in found] == sorted(price.total for _, price in found)
    prices = {name: (price.base, price.total) for name, price in found}
    assert prices == {"Starter": (90, 81), "Pro": (180, 153), "Ultimate": (2000, 1600), "Certificates": (180, 153)}


def test_a_bundle_is_paid_once_and_each_of_its_tokens_can_be_refunded_by_its_share(
    session: Session, alice: User, settings: Settings
) -> None:
    purchase_id = uuid.uuid4()
    sold, made = sell(session, alice, settings, purchase_id=purchase_id)
    assert (balance(session, alice), sold.price_paid, len(made)) == (19, 81, 5)
    assert sum(token.price_paid for token, _ in made) == 81
    assert len({secret for _, secret in made}) == 5
    assert actions(session, alice)[-1] is AuditAction.BUNDLE_PURCHASED
    with pytest.raises(DuplicateTransfer), session.begin_nested():
        sell(session, alice, settings, purchase_id=purchase_id)
    for token, _ in made:
        revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert balance(session, alice) == 100


def test_a_bundle_that_cannot_be_bought_is_refused(
    session: Session, alice: User, dana: User, settings: Settings
) -> None:
    with pytest.raises(InsufficientFunds), session.begin_nested():
        sell(session, alice, settings, "Pro")
    starter = bundle_named(session)
    bundles.set_active(session, starter.id, active=False, actor=Actor(dana.id))
    with pytest.raises(NotFound):
        sell(session, alice, settings)
    assert "Starter" not in {bundle.name for bundle in bundles.on_sale(session, settings).items}
    with pytest.raises(NotFound):
        bundles.by_id(session, some_id())
    alice.is_active = False
    with pytest.raises(AccountDisabled):
        sell(session, alice, settings, "Pro")
    assert balance(session, alice) == 100


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 51},
        {"token_count": 1},
        {"token_count": 101},
        {"duration_hours": 5},
        {"scope": "root"},
        {"discount_percent": Decimal(-1)},
        {"discount_percent": Decimal(91)},
        {"discount_percent": Decimal("NaN")},
        {"discount_percent": Decimal("1.001")},
    ],
)
def test_an_invalid_bundle_is_refused(session: Session, dana: User, settings: Settings, change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"name": "Trio", "description": "", "token_count": 3, "duration_hours": 1, "scope": "full"}
    good |= {"discount_percent": Decimal("33.33")}
    made = bundles.save(session, None, **good, settings=settings, actor=Actor(dana.id))
    assert bundles.price_of(made, settings).total == Decimal("2.00")
    with pytest.raises(InvalidInput):
        bundles.save(session, made, **{**good, **change}, settings=settings, actor=Actor(dana.id))
    assert made.name == "Trio"


def test_a_coupon_makes_a_purchase_cheaper_and_the_refund_too(
    *, session: Session, alice: User, dana: User, settings: Settings
) -> None:
    coupon(session, dana)
    quoted = coupons.quotes(session, alice, "spring", {24: Decimal(18), 720: Decimal(300)})
    assert {hours: each.price for hours, each in quoted.items()} == {24: Decimal("16.20"), 720: Decimal(270)}
    token = buy(session, alice, settings, coupon=" spring ")
    assert (token.price_paid, balance(session, alice)) == (Decimal("16.20"), Decimal("83.80"))
    revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    assert balance(session, alice) == 100
    with pytest.raises(CouponRefused, match="coupon_refused_used_up"):
        buy(session, alice, settings, coupon="SPRING")


def test_a_coupon_leaves_a_cent_and_works_for_bundles(
    session: Session, alice: User, dana: User, settings: Settings
) -> None:
    coupon(session, dana, "BIG", percent=None, amount=Decimal(80), uses_per_user=None)
    assert buy(session, alice, settings, coupon="BIG").price_paid == Decimal("0.01")
    sold, made = sell(session, alice, settings, coupon="BIG")
    assert (sold.price_paid, [token.price_paid for token, _ in made]) == (1, [Decimal("0.20")] * 5)


def test_a_bundle_that_rounds_to_nothing_costs_a_cent_with_and_without_a_coupon(
    session: Session, alice: User, dana: User, settings: Settings
) -> None:
    # 0.01 is the smallest amount that can be booked, so it is the lowest price.
    prices = settings.prices.model_copy(update={"znc": {1: Decimal("0.01"), 24: Decimal(18)}})
    cheap = settings.model_copy(update={"prices": prices})
    coupon(session, dana)
    facts = {"token_count": 2, "duration_hours": 1, "scope": "full", "discount_percent": Decimal(90)}
    bundle = bundles.save(session, None, name="Crumbs", description="", **facts, settings=cheap, actor=Actor(dana.id))
    assert bundles.price_of(bundle, cheap).total == Decimal("0.01")
    for code in ("", "SPRING"):
        sold, made = sell(session, alice, cheap, "Crumbs", coupon=code)
        assert (sold.price_paid, sum(token.price_paid for token, _ in made)) == (Decimal("0.01"), Decimal("0.01"))
        for token, _ in made:
            revocation.revoke(session, alice, token.id, settings=cheap, actor=PLATFORM)
    assert balance(session, alice) == 100


def test_a_coupon_can_expire_be_withdrawn_and_be_used_up(
    *, session: Session, alice: User, bob: User, dana: User, settings: Settings, time: Clock
) -> None:
    once = coupon(session, dana, "ONCE", uses_in_all=1, uses_per_user=None)
    buy(session, alice, settings, coupon="ONCE")
    with pytest.raises(CouponRefused, match="coupon_refused_used_up"):
        buy(session, bob, settings, coupon="ONCE")
    once.valid_until, once.uses_in_all = time() + timedelta(minutes=1), 5
    buy(session, bob, settings, coupon="ONCE", hours=1)
    time.advance(minutes=1)
    with pytest.raises(CouponRefused, match="coupon_refused_over"):
        buy(session, bob, settings, coupon="ONCE")
    coupon(session, dana, "OFF")
    coupons.set_active(
        session,
        session.scalars(select(Coupon.id).where(Coupon.code == "OFF")).one(),
        active=False,
        actor=Actor(dana.id),
    )
    for code in ("OFF", "NOBODYS", "\0", "x" * 100):
        with pytest.raises(CouponRefused):
            buy(session, bob, settings, coupon=code)
    [listed, *_] = [item for item in coupons.list_coupons(session, limit=10, offset=0).items if item[0].code == "ONCE"]
    assert listed[1:] == (2, Decimal("1.90"))


@pytest.mark.parametrize(
    "facts",
    [
        {"code": ""},
        {"code": "two\nlines"},
        {"percent": None},
        {"amount": Decimal(1)},
        {"percent": Decimal(100)},
        {"percent": Decimal(0)},
        {"percent": Decimal("NaN")},
        {"percent": None, "amount": Decimal("0.001")},
        {"uses_in_all": 0},
        {"uses_per_user": -1},
        {"code": "spring"},
    ],
)
def test_an_invalid_coupon_is_not_created(session: Session, dana: User, facts: dict[str, Any]) -> None:
    coupon(session, dana)
    with pytest.raises(InvalidInput):
        coupon(session, dana, **{"code": "SUMMER", **facts})


def test_of_two_concurrent_buyers_one_gets_the_last_use_of_a_coupon(committed: tuple[Settings, Sessions]) -> None:
    settings, factory = committed
    people = [person(factory, name, balance="100") for name in ("alice", "bob")]
    dana = person(factory, "dana", is_superuser=True)
    with factory.begin() as session:
        coupon(session, dana, uses_in_all=1)

    def purchase(who: User) -> Any:
        def run() -> Any:
            with factory.begin() as session:
                return buy(session, who, settings, coupon="SPRING")

        return run

    results = race(*(purchase(who) for who in people))
    assert {type(result) for result in results} == {AccessToken, CouponRefused}
    with factory.begin() as session:
        assert session.scalar(select(func.count()).select_from(CouponUse)) == 1
    assert_sound(factory)


@pytest.mark.parametrize("code", ["", "ONCE", "OFTEN"])
@pytest.mark.parametrize("what", ["token", "bundle"])
def test_the_same_form_sent_twice_at_once_and_again_buys_once(
    committed: tuple[Settings, Sessions], what: str, code: str
) -> None:
    settings, factory = committed
    alice, dana = person(factory, "alice", balance="200"), person(factory, "dana")
    with factory.begin() as session:
        coupon(session, dana, "ONCE")
        coupon(session, dana, "OFTEN", uses_per_user=None)
    name = uuid.uuid4()

    def run() -> Any:
        with factory.begin() as session:
            if what == "bundle":
                return sell(session, alice, settings, purchase_id=name, coupon=code)
            return buy(session, alice, settings, token_id=name, coupon=code)

    results = [*race(run, run), *race(run)]
    assert sum(isinstance(result, DuplicateTransfer) for result in results) == 2, results
    with factory.begin() as session:
        price = Decimal(81 if what == "bundle" else 18) * (Decimal("0.9") if code else 1)
        assert balance(session, alice) == 200 - price.quantize(Decimal("0.01"))
    assert_sound(factory)


def test_an_admin_revokes_a_token_without_a_refund_and_with_a_reason(
    session: Session, alice: User, dana: User, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    with pytest.raises(InvalidInput):
        revocation.force_revoke(session, token.id, reason=" ", actor=Actor(dana.id))
    revocation.force_revoke(session, token.id, reason="shared in a forum", actor=Actor(dana.id))
    assert (balance(session, alice), token.refund_amount) == (82, 0)
    assert actions(session, alice)[-1] is AuditAction.TOKEN_FORCE_REVOKED
    with pytest.raises(NotFound):
        revocation.force_revoke(session, some_id(), reason="none", actor=Actor(dana.id))


def test_a_new_user_has_no_offers(session: Session) -> None:
    assert make_user(session, "newbie").referrer_id is None
