"""Deleted accounts: nothing is credited to them, and debts and limits apply again after a new registration.

The rule: no order of payments, reversals, deletions and returns of the same person leaves a bonus, gift or credit
backed by reversed money, or money credited to nobody.
"""

import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.database import Sessions
from models.ledger import AccountKind
from models.payments import Payment, PaymentReversal, PaymentStatus, ReversalState
from models.services.accounts import deletion, email_flows, former_accounts
from models.services.actor import PLATFORM, Actor
from models.services.errors import AccountClosed, CouponRefused, GiftRefused, ProviderRefused
from models.services.ledger import adjustments, transfers
from models.services.ledger import verification as ledger_verification
from models.services.payments import callbacks, manual_review, refunds, settlement, topups
from models.services.payments.providers import mock
from models.services.promotions import coupons, gift_codes
from models.users import User
from tests.conftest import PASSWORD, Clock, make_user
from tests.factories import assert_sound, balance, buy, crossing, decided, person, top_up
from tests.models.services.payments.test_reversals import paid, said

Committed = tuple[Settings, Sessions]


@pytest.fixture
def frank(session: Session) -> User:
    return make_user(session, "frank")


@pytest.fixture(autouse=True)
def sound(request: Any) -> Any:
    """Ledger verification passes after every test."""
    session = request.getfixturevalue("session") if "session" in request.fixturenames else None
    yield
    if session is not None:
        session.flush()
        assert [rule for rule in ledger_verification.RULES if ledger_verification.failed_checks(session, rule)] == []


def leave(session: Session, user: User, settings: Settings) -> None:
    deletion.delete_account(session, user, password=PASSWORD, code=None, settings=settings, actor=PLATFORM)


def back(session: Session, settings: Settings, name: str = "frank2", email: str = "Frank@Example.test") -> User:
    """Register a user with the address of the deleted account."""
    facts = {"email": email, "username": name, "password": PASSWORD, "settings": settings, "actor": PLATFORM}
    return email_flows.register(session, **facts)  # type: ignore[arg-type]


def settle(session: Session, payment: Payment, settings: Settings) -> str:
    stored = callbacks.store_event(session, "mock", decided(session, payment, settings))
    assert stored is not None
    return settlement.settle(session, stored)


def unclaimed(session: Session) -> Decimal:
    session.expire_all()
    return transfers.system_account(session, AccountKind.UNCLAIMED).balance


def expired(session: Session, user: User, settings: Settings, time: Clock) -> Payment:
    """A payment that expired, so that it does not block the deletion."""
    payment = top_up(session, user, settings)
    time.advance(hours=2)
    topups.expire(session)
    session.refresh(payment)
    return payment


def test_37_a_late_payment_for_a_deleted_account_is_refunded_to_its_payer(
    *, session: Session, frank: User, settings: Settings, time: Clock
) -> None:
    payment = expired(session, frank, settings, time)
    leave(session, frank, settings)
    assert settle(session, payment, settings) == "account_deleted"
    assert (balance(session, frank), payment.status, manual_review.count(session)) == (0, PaymentStatus.REFUNDED, 1)
    [waiting] = session.scalars(select(PaymentReversal)).all()
    assert refunds.send(session, waiting.id, settings) is ReversalState.DONE
    assert (unclaimed(session), balance(session, frank)) == (0, 0)


def test_a_refund_that_the_provider_refuses_waits_for_an_admin_who_can_retry(
    *, session: Session, frank: User, dana: User, settings: Settings, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: Any) -> str:
        raise ProviderRefused("The card is closed.")

    payment = expired(session, frank, settings, time)
    leave(session, frank, settings)
    settle(session, payment, settings)
    manual_review.close(
        session,
        manual_review.list_reviews().page(session, limit=1, offset=0).items[0].id,
        note="seen",
        actor=Actor(dana.id),
    )
    [waiting] = session.scalars(select(PaymentReversal)).all()
    with monkeypatch.context() as patch:
        patch.setattr(mock.MockProvider, "refund", no)
        assert refunds.send(session, waiting.id, settings) is ReversalState.REFUSED
    assert (unclaimed(session), balance(session, frank), manual_review.count(session)) == (50, 0, 1)
    facts = {"amount_rub": Decimal(500), "reason": "another card", "key": uuid.uuid4(), "actor": Actor(dana.id)}
    again = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
    assert refunds.send(session, again.id, settings) is ReversalState.DONE
    assert unclaimed(session) == 0


def test_a_refund_refused_after_the_deletion_repays_the_debt_and_the_rest_is_unclaimed_money(
    *, session: Session, frank: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, first = paid(session, frank, settings, "10"), paid(session, frank, settings, "50")
    buy(session, frank, settings, hours=12)
    facts = {"amount_rub": Decimal(500), "reason": "as agreed", "key": uuid.uuid4(), "actor": PLATFORM}
    refund = refunds.request(session, first.id, **facts)  # type: ignore[arg-type]
    leave(session, frank, settings)
    said(session, second, "disputed", "100", refund_id="d-1")
    assert transfers.debt_of(session, frank.id) == 10

    def no(*_: Any) -> str:
        raise ProviderRefused("The card is closed.")

    monkeypatch.setattr(mock.MockProvider, "refund", no)
    refunds.send(session, refund.id, settings)
    assert (unclaimed(session), transfers.debt_of(session, frank.id), balance(session, frank)) == (40, 0, 0)


def test_37_nothing_is_credited_to_a_deleted_account(*, session: Session, frank: User, settings: Settings) -> None:
    leave(session, frank, settings)
    with pytest.raises(AccountClosed), session.begin_nested():
        transfers.transfer(
            session,
            transfers.TransferKind.ADJUSTMENT,
            debit=transfers.system_account(session, AccountKind.ADJUSTMENTS),
            credit=transfers.wallet_of(session, frank.id),
            amount=Decimal(1),
            purpose=None,
            description="late",
            reference=("user", frank.id),
            idempotency_key="late",
            actor=PLATFORM,
        )
    assert balance(session, frank) == 0


def test_a_gift_code_redeemed_during_the_deletion_is_not_lost(committed: Committed) -> None:
    settings, factory = committed
    frank, dana = person(factory, "frank"), person(factory, "dana", is_superuser=True)
    with factory.begin() as session:
        facts = {"valid_until": None, "note": "test", "settings": settings, "actor": Actor(dana.id)}
        [code] = gift_codes.create(session, amount=Decimal(5), count=1, uses_each=1, **facts)  # type: ignore[arg-type]

    def go(session: Any) -> Any:
        return leave(session, session.get_one(User, frank.id), settings)

    def redeem(session: Any) -> Any:
        return gift_codes.redeem(session, session.get_one(User, frank.id), code, settings=settings, actor=PLATFORM)

    gone, refused = crossing(factory, go, "DELETE FROM outbox_mails", redeem)
    assert (gone, type(refused)) == (None, AccountClosed)
    assert_sound(factory)
    with factory.begin() as session:
        bob = make_user(session, "bob")
        assert gift_codes.redeem(session, bob, code, settings=settings, actor=PLATFORM) == 5


def test_a_debtor_who_registers_again_owes_as_before(*, session: Session, frank: User, settings: Settings) -> None:
    payment = paid(session, frank, settings, "50")
    buy(session, frank, settings)
    said(session, payment, "disputed", "500", refund_id="d-1")
    leave(session, frank, settings)
    again = back(session, settings)
    assert (transfers.debt_of(session, frank.id), transfers.debt_of(session, again.id)) == (0, 18)
    paid(session, again, settings, "20")
    assert (transfers.debt_of(session, again.id), balance(session, again)) == (0, 2)
    assert transfers.debt_of(session, back(session, settings, "grace", "grace@example.test").id) == 0


def test_a_chargeback_after_the_new_registration_is_owed_too(
    *, session: Session, frank: User, settings: Settings
) -> None:
    payment = paid(session, frank, settings, "50")
    leave(session, frank, settings)
    again = back(session, settings)
    paid(session, again, settings, "20")
    said(session, payment, "disputed", "500", refund_id="d-1")
    assert list(former_accounts.due_to_carry(session)) == [again.id]
    assert former_accounts.carry_debt(session, again.id)
    assert (transfers.debt_of(session, again.id), balance(session, again)) == (30, 0)
    assert list(former_accounts.due_to_carry(session)) == []
    assert not former_accounts.carry_debt(session, again.id)


def test_37_coupons_gift_codes_and_the_referral_bonus_cannot_be_used_again_by_a_new_account(
    *, session: Session, frank: User, dana: User, charlie: User, settings: Settings
) -> None:
    facts: dict[str, Any] = {"valid_until": None, "actor": Actor(dana.id)}
    coupons.create(session, code="ONCE", percent=Decimal(10), amount=None, uses_in_all=None, uses_per_user=1, **facts)
    [code] = gift_codes.create(
        session, amount=Decimal(5), count=1, uses_each=9, note="test", settings=settings, **facts
    )
    frank.referrer_id = charlie.id
    paid(session, frank, settings, "200")
    gift_codes.redeem(session, frank, code, settings=settings, actor=PLATFORM)
    buy(session, frank, settings, hours=24, coupon="ONCE")
    buy(session, frank, settings, hours=168)
    held: Callable[[], Decimal] = lambda: transfers.personal_account(session, charlie.id, AccountKind.HELD).balance  # noqa: E731
    assert held() == 10
    leave(session, frank, settings)
    again = back(session, settings)
    leave(session, again, settings)
    third = back(session, settings, "frank3")
    third.referrer_id = charlie.id
    paid(session, third, settings, "200")
    with pytest.raises(GiftRefused):
        gift_codes.redeem(session, third, code, settings=settings, actor=PLATFORM)
    with pytest.raises(CouponRefused), session.begin_nested():
        buy(session, third, settings, hours=24, coupon="ONCE")
    buy(session, third, settings, hours=168)
    assert held() == 0


def test_a_deleted_accounts_address_is_not_kept(session: Session, frank: User, settings: Settings) -> None:
    adjustments.adjust(session, frank, amount=Decimal(1), reason="test", actor=PLATFORM)
    leave(session, frank, settings)
    assert "frank" not in f"{frank.email}{frank.username}{frank.address_hash!r}"
    assert frank.address_hash == former_accounts.address_hash("FRANK@example.test ", settings)
    other = settings.tokens.model_copy(update={"hash_key": settings.tokens.mac_keys})
    assert frank.address_hash != former_accounts.address_hash(
        "frank@example.test", settings.model_copy(update={"tokens": other})
    )
