"""Concurrent spending and a crash after each statement, for every operation that spends.

docs/spec/invariants.md#4-refunds-within-the-price
docs/spec/invariants.md#5-concurrent-purchases
docs/spec/invariants.md#7-crash-between-statements
"""

import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken, TokenState
from models.config.settings import Settings
from models.database import Sessions
from models.ledger import Transfer, TransferKind
from models.outages import Outage
from models.services.actor import PLATFORM, Actor
from models.services.errors import DomainError, InsufficientFunds, TokenEnded, TokenUnusable
from models.services.gateway import sessions
from models.services.ledger import adjustments, money
from models.services.payments import callbacks, refunds, settlement
from models.services.promotions import gift_codes
from models.services.tokens import bundles, extension, outage_credit, renewal, revocation
from models.services.tokens import pause as token_pause
from models.token_pauses import TokenPause
from models.users import User
from tests.abuse.shop import Shop, assert_all_or_nothing
from tests.conftest import Clock
from tests.factories import assert_sound, balance, buy, decided, person, race, top_up
from tests.models.services.payments.test_reversals import said
from tests.models.services.promotions.test_referrals import referred_by
from tests.models.services.tokens.test_bundles_and_coupons import bundle_named, coupon, gift

Committed = tuple[Settings, Sessions]
Call = Callable[[Session], Any]
CHANGED = {"accounts", "transfers", "audit_entries"}


@pytest.fixture
def shop(committed: Committed) -> Shop:
    return Shop(committed)


def running(shop: Shop, hours: int = 24) -> uuid.UUID:
    """Sell alice a token and activate it."""

    def start(session: Session) -> uuid.UUID:
        token = buy(session, shop.alice, shop.settings, hours=hours)
        sessions.start_session(session, token.id, device=None, rules=shop.settings.sessions, actor=PLATFORM)
        return token.id

    found: uuid.UUID = shop.run(start)
    return found


def act(shop: Shop, service: Callable[..., Any], token_id: uuid.UUID, **more: Any) -> Callable[[], Any]:
    """Return a committed call of a service on alice's token."""
    facts = {"settings": shop.settings, "actor": Actor(shop.alice.id), **more}
    return lambda: shop.run(lambda session: service(session, shop.alice, token_id, **facts))


def token_of(shop: Shop, token_id: uuid.UUID) -> AccessToken:
    found: AccessToken = shop.run(lambda session: session.get_one(AccessToken, token_id))
    return found


def spender(shop: Shop, what: str, time: Clock) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Prepare two purchases of a kind, and leave alice with money for one of them."""
    settings, alice = shop.settings, shop.alice
    price = Decimal(18)
    if what == "bundle":
        bundle_id, price = shop.run(lambda s: bundle_named(s, "Starter")).id, Decimal(81)

        def purchase() -> Any:
            facts = {"purchase_id": uuid.uuid4(), "settings": settings, "actor": Actor(alice.id)}
            return shop.run(lambda s: bundles.purchase(s, alice, bundle_id, **facts))

        calls = (purchase, purchase)
    elif what == "extension":
        held = [running(shop), running(shop)]
        calls = tuple(act(shop, extension.extend, one, hours=24, key=uuid.uuid4()) for one in held)  # type: ignore[assignment]
    else:
        held = [running(shop), running(shop)]
        for one in held:
            act(shop, renewal.set_auto_renew, one, on=True)()
        time.advance(hours=23, minutes=56)
        calls = tuple(partial(shop.run, partial(_renew, token_id=one, settings=settings)) for one in held)  # type: ignore[assignment]
    left = price - shop.money()
    if left:
        shop.run(lambda s: adjustments.adjust(s, alice, amount=left, reason="money for one", actor=PLATFORM))
    return calls


def _renew(session: Session, *, token_id: uuid.UUID, settings: Settings) -> bool:
    return renewal.renew(session, token_id, settings)


@pytest.mark.parametrize("what", ["bundle", "extension", "renewal"])
def test_5_two_of_a_kind_at_the_same_instant_with_money_for_one_sell_one(shop: Shop, time: Clock, what: str) -> None:
    calls = spender(shop, what, time)
    before = shop.count(Transfer, Transfer.kind == TransferKind.PURCHASE)
    results = race(*calls)
    assert shop.money() == 0
    assert shop.count(Transfer, Transfer.kind == TransferKind.PURCHASE) == before + 1
    refused = [result for result in results if isinstance(result, InsufficientFunds)]
    assert len(refused) == (0 if what == "renewal" else 1), results
    if what == "renewal":
        assert shop.count(AccessToken, AccessToken.auto_renew) == 1
    assert_sound(shop.factory)


def test_4_a_renewal_and_a_revocation_at_the_same_instant_refund_what_was_paid(shop: Shop, time: Clock) -> None:
    for _ in range(8):
        before, token_id = shop.money(), running(shop, 1)
        act(shop, renewal.set_auto_renew, token_id, on=True)()
        time.advance(minutes=56)
        renewed, revoked = race(
            partial(shop.run, partial(_renew, token_id=token_id, settings=shop.settings)),
            act(shop, revocation.revoke, token_id),
        )
        token, refund = token_of(shop, token_id), revoked[1]
        assert token.price_paid == (2 if renewed is True else 1)
        assert refund == money.round_down(token.price_paid * (token.paid_seconds - 56 * 60) / token.paid_seconds)
        assert shop.money() == before - token.price_paid + refund
    assert_sound(shop.factory)


def test_4_pausing_extending_and_revoking_at_the_same_instant_leave_the_ledger_consistent(
    shop: Shop, time: Clock
) -> None:
    for _ in range(8):
        before, token_id = shop.money(), running(shop)
        time.advance(hours=6)
        results = race(
            act(shop, token_pause.pause, token_id),
            act(shop, extension.extend, token_id, hours=1, key=uuid.uuid4()),
            act(shop, revocation.revoke, token_id),
        )
        assert all(isinstance(result, DomainError) or not isinstance(result, Exception) for result in results)
        token = token_of(shop, token_id)
        assert token.refund_amount is not None
        assert shop.money() == before - token.price_paid + token.refund_amount
        assert token.refund_amount <= money.round_down(
            token.price_paid * (token.paid_seconds - 21600) / token.paid_seconds
        )
    assert_sound(shop.factory)


def test_4_two_pauses_or_two_resumptions_at_the_same_instant_are_one(shop: Shop, time: Clock) -> None:
    token_id = running(shop)
    for number in range(1, 4):
        assert sum(isinstance(done, AccessToken) for done in race(*[act(shop, token_pause.pause, token_id)] * 3)) == 1
        time.advance(minutes=30)
        assert sum(isinstance(done, AccessToken) for done in race(*[act(shop, token_pause.resume, token_id)] * 3)) == 1
        assert token_of(shop, token_id).paused_seconds == number * 1800
        assert shop.count(TokenPause) == number


def test_4_an_outage_credit_and_a_revocation_at_the_same_instant_count_its_minutes_once(
    shop: Shop, time: Clock
) -> None:
    for _ in range(5):
        before, token_id = shop.money(), running(shop)
        start = time()
        time.advance(hours=2)
        outage = Outage(opened_at=start, last_failed_at=time(), closed_at=time())
        shop.run(lambda s, row=outage: s.add(row))
        time.advance(hours=12)
        _credited, revoked = race(
            partial(shop.run, lambda s, row=outage: outage_credit.credit(s, row.id, shop.settings, limit=10)),
            act(shop, revocation.revoke, token_id),
        )
        assert revoked[1] == 9  # half of 18: twelve hours of 24 were used, in either order
        assert shop.money() == before - 9
        while shop.run(lambda s, row=outage: outage_credit.credit(s, row.id, shop.settings, limit=10)):
            pass
    assert_sound(shop.factory)


def test_4_at_the_moment_of_expiry_nothing_is_refunded_or_extended(shop: Shop, time: Clock) -> None:
    token_id = running(shop)
    act(shop, renewal.set_auto_renew, token_id, on=True)()
    time.advance(hours=24)
    assert token_of(shop, token_id).state(time()) is TokenState.EXPIRED
    for service, more in ((revocation.revoke, {}), (extension.extend, {"hours": 24, "key": uuid.uuid4()})):
        with pytest.raises(TokenEnded):
            act(shop, service, token_id, **more)()
    with pytest.raises(TokenUnusable):
        act(shop, token_pause.pause, token_id)()
    assert shop.run(lambda s: renewal.renew(s, token_id, shop.settings))
    assert (shop.money(), token_of(shop, token_id).auto_renew) == (82, False)


def test_4_a_second_before_expiry_the_refund_is_that_second_rounded_down(shop: Shop, time: Clock) -> None:
    token_id = running(shop, 720) if shop.money() >= 300 else running(shop, 168)
    time.moment += timedelta(hours=167, minutes=59, seconds=59)
    assert act(shop, revocation.revoke, token_id)()[1] == 0
    assert_sound(shop.factory)


def operation(shop: Shop, what: str) -> tuple[Call, set[str]]:
    """Prepare an operation on money; return it with the tables that it must change."""
    settings, alice = shop.settings, shop.alice
    dana = person(shop.factory, "dana", is_superuser=True)
    if what == "bundle":
        charlie = person(shop.factory, "charlie")
        frank: User = shop.run(lambda s: referred_by(s, charlie, balance="400"))
        shop.run(lambda s: coupon(s, dana))
        bundle_id = shop.run(lambda s: bundle_named(s, "Pro")).id
        facts = {"purchase_id": uuid.uuid4(), "settings": settings, "actor": Actor(frank.id), "coupon": "SPRING"}
        return lambda s: bundles.purchase(s, s.get_one(User, frank.id), bundle_id, **facts), CHANGED | {
            *("access_tokens", "bundle_purchases", "coupon_uses", "referral_bonuses"),
        }
    if what == "gift":
        code = shop.run(lambda s: gift(s, dana, settings))
        facts = {"settings": settings, "actor": Actor(alice.id)}
        return lambda s: gift_codes.redeem(s, alice, code, **facts), CHANGED | {"gift_codes", "gift_redemptions"}
    if what == "extension":
        token_id, key = running(shop), uuid.uuid4()
        facts = {"hours": 24, "key": key, "settings": settings, "actor": Actor(alice.id)}
        call: Call = lambda s: extension.extend(s, alice, token_id, **facts)  # noqa: E731
        return call, CHANGED | {"access_tokens", "token_events"}
    payment = shop.run(lambda s: top_up(s, alice, settings))
    event = shop.run(lambda s: decided(s, payment, settings))
    shop.run(lambda s: settlement.settle(s, callbacks.store_event(s, "mock", event)))  # type: ignore[arg-type]
    if what == "refund":
        facts = {"amount_rub": Decimal(300), "reason": "agreed", "key": uuid.uuid4(), "actor": Actor(dana.id)}
        return lambda s: refunds.request(s, payment.id, **facts), CHANGED | {"payments", "payment_reversals"}
    shop.run(lambda s: buy(s, alice, settings, hours=168))
    return lambda s: said(s, payment, "disputed", "500", refund_id="d-1"), CHANGED | {
        *("payments", "payment_events", "payment_reversals"),
    }


@pytest.mark.parametrize("what", ["bundle", "gift", "extension", "refund", "dispute"])
def test_7_a_crash_between_any_two_statements_of_any_other_transfer_leaves_all_or_nothing(
    shop: Shop, what: str
) -> None:
    call, must_change = operation(shop, what)
    assert_all_or_nothing(shop, call, must_change)
    assert shop.run(lambda s: balance(s, shop.alice)) >= 0
    assert shop.run(lambda s: s.scalars(select(Transfer.id)).all())
