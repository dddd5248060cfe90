"""A top-up is started, its provider's word is kept once, and it is settled once."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.config.shop import Prices
from models.outbox import OutboxMail
from models.payments import MockCheckout, Payment, PaymentEvent, PaymentStatus
from models.services.actor import PLATFORM, Actor
from models.services.errors import CallbackRefused, InvalidInput, NotFound
from models.services.payments import callbacks, manual_review, payment_queries, settlement, status_checks, topups
from models.services.payments.providers.base import Outcome
from models.users import User
from tests.conftest import Clock, some_id
from tests.factories import REVIEW_RESULTS, actions, balance, decided, top_up


def told(session: Session, payment: Payment, settings: Settings, outcome: Outcome, event_id: str = "") -> str:
    """Store what the provider says about a payment and settle it; returns what was done."""
    event = decided(session, payment, settings, outcome)
    event = replace(event, outcome=outcome, event_id=event_id or event.event_id)
    stored = callbacks.store_event(session, "mock", event)
    assert stored is not None
    return settlement.settle(session, stored)


def events(session: Session) -> int:
    """Count the stored events."""
    return session.scalar(select(func.count()).select_from(PaymentEvent)) or 0


def test_a_payment_starts_pending_at_the_current_rate_with_its_checkout(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    payment = topups.start(
        session, alice, amount=Decimal("12.34"), provider="mock", return_url="/wallet", settings=settings,
        actor=Actor(alice.id),
    )  # fmt: skip
    checkout = session.scalars(select(MockCheckout)).one()
    assert payment.checkout_url == f"{settings.portal.address}/mock-checkout/{checkout.id}"
    assert payment.provider_payment_id == str(checkout.id)
    assert (payment.status, payment.amount_rub, payment.rub_per_znc) == (PaymentStatus.PENDING, Decimal("123.40"), 10)
    assert payment.expires_at == time() + timedelta(minutes=60)
    assert actions(session, alice)[-1] == "payment.created"
    assert balance(session, alice) == 100


def test_rubles_are_rounded_to_the_nearest_kopeck(session: Session, alice: User, settings: Settings) -> None:
    dear = settings.model_copy(update={"prices": Prices(znc=settings.prices.znc, rub_per_znc=Decimal("9.99"))})
    assert top_up(session, alice, dear, "0.50").amount_rub == Decimal("5.00")


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "1e30", "0.001", "Infinity"])
def test_a_payment_of_an_invalid_amount_is_not_started(
    session: Session, alice: User, settings: Settings, amount: str
) -> None:
    with pytest.raises(InvalidInput):
        top_up(session, alice, settings, amount)
    assert session.scalars(select(Payment)).all() == []


def test_a_disabled_provider_takes_no_payment(session: Session, alice: User, settings: Settings) -> None:
    facts = {"amount": Decimal(1), "return_url": "/", "settings": settings, "actor": PLATFORM}
    with pytest.raises(NotFound):
        topups.start(session, alice, provider="yookassa", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "lie",
    [
        {"provider_payment_id": "a\0b"},
        {"event_id": "e" * 121},
        {"refund_key": "k\0"},
        {"amount_rub": Decimal("NaN")},
        {"amount_rub": Decimal("Infinity")},
        {"amount_rub": Decimal("499.999")},
        {"amount_rub": Decimal("1e30")},
    ],
    ids=str,
)
def test_a_callback_with_impossible_values_is_not_stored(
    session: Session, alice: User, settings: Settings, lie: dict[str, object]
) -> None:
    event = decided(session, top_up(session, alice, settings), settings)
    with pytest.raises(CallbackRefused), session.begin_nested():
        callbacks.store_event(session, "mock", replace(event, **lie))  # type: ignore[arg-type]
    assert events(session) == 0


@pytest.mark.parametrize(
    "lie",
    [
        {"amount_rub": Decimal("500.01")},
        {"amount_rub": Decimal(-500)},
        {"amount_rub": Decimal(50)},
        {"currency": "USD"},
        {"outcome": "unreadable"},
    ],
    ids=str,
)
def test_a_signed_callback_that_does_not_match_the_payment_is_stored_for_review_and_credits_nothing(
    session: Session, alice: User, settings: Settings, lie: dict[str, object]
) -> None:
    # What is refused a provider repeats for three days, and then it is lost (docs.stripe.com/webhooks).
    payment = top_up(session, alice, settings)
    event = replace(decided(session, payment, settings), **lie)  # type: ignore[arg-type]
    stored = callbacks.store_event(session, "mock", event)
    assert stored is not None
    assert settlement.settle(session, stored) in REVIEW_RESULTS
    assert (balance(session, alice), payment.status) == (100, PaymentStatus.PENDING)
    assert manual_review.count(session) == 1


def test_a_callback_about_a_payment_of_another_product_is_ignored(
    session: Session, alice: User, settings: Settings
) -> None:
    event = decided(session, top_up(session, alice, settings), settings)
    foreign = replace(event, provider_payment_id="11111111-1111-1111-1111-111111111111")
    assert callbacks.store_event(session, "mock", foreign) is None
    assert callbacks.store_event(session, "yookassa", event) is None
    assert events(session) == 0


def test_input_in_the_providers_form_never_prevents_a_payment_from_being_stored(
    session: Session, alice: User, settings: Settings
) -> None:
    # JSON has both of these, and PostgreSQL's jsonb has neither (its manual, "JSON Types").
    body = {"name": "a\0b", "lines": ["\ud800", 1]}
    event = replace(decided(session, top_up(session, alice, settings), settings), body=body)
    stored = callbacks.store_event(session, "mock", event)
    assert stored is not None
    assert session.get_one(PaymentEvent, stored).body == {"name": "a\ufffdb", "lines": ["?", 1]}
    assert settlement.settle(session, stored) == "credited"


def test_an_event_is_stored_once(session: Session, alice: User, settings: Settings) -> None:
    event = decided(session, top_up(session, alice, settings), settings)
    assert callbacks.store_event(session, "mock", event) is not None
    assert callbacks.store_event(session, "mock", event) is None
    assert events(session) == 1


def test_settling_credits_once_however_often_it_runs(session: Session, alice: User, settings: Settings) -> None:
    payment = top_up(session, alice, settings)
    event_id = callbacks.store_event(session, "mock", decided(session, payment, settings))
    assert event_id is not None
    assert [settlement.settle(session, event_id) for _ in range(3)] == ["credited"] * 3
    assert balance(session, alice) == 150
    assert payment.status is PaymentStatus.SUCCEEDED
    assert actions(session, alice).count("payment.settled") == 1
    mails = session.scalars(select(OutboxMail).where(OutboxMail.kind == "payment")).all()
    assert [mail.context["amount_znc"] for mail in mails] == ["50.00"]


def test_an_unknown_event_cannot_be_settled(session: Session) -> None:
    with pytest.raises(NotFound):
        settlement.settle(session, some_id())


@pytest.mark.parametrize(
    ("story", "credited", "last"),
    [
        (["succeeded", "succeeded"], 50, "payment_state"),
        (["succeeded", "canceled"], 50, "payment_state"),
        (["canceled", "succeeded"], 0, "payment_state"),
        (["canceled", "canceled"], 0, "payment_state"),
        (["expired", "succeeded"], 50, "credited"),
        (["expired", "canceled"], 0, "canceled"),
        (["expired", "canceled", "succeeded"], 0, "payment_state"),
        (["succeeded", "expired"], 50, "credited"),
    ],
)
def test_each_event_leads_to_the_specified_status(
    *, session: Session, alice: User, settings: Settings, time: Clock, story: list[Outcome], credited: int, last: str
) -> None:
    payment, result = top_up(session, alice, settings), ""
    for number, happens in enumerate(story):
        if happens == "expired":
            time.advance(minutes=60)
            topups.expire(session)
        else:
            result = told(session, payment, settings, happens, f"event {number}")
    assert (balance(session, alice) - 100, result) == (credited, last)
    session.refresh(payment)
    assert (payment.settled_at is not None) == (credited > 0)


def test_only_overdue_pending_payments_expire(session: Session, alice: User, settings: Settings, time: Clock) -> None:
    old = top_up(session, alice, settings)
    time.advance(minutes=30)
    young = top_up(session, alice, settings)
    time.advance(minutes=30)
    assert [topups.expire(session) for _ in range(2)] == [1, 0]
    for payment, status in ((old, "expired"), (young, "pending")):
        session.refresh(payment)
        assert payment.status == status
    assert actions(session, alice).count("payment.expired") == 1


def test_a_query_of_the_provider_settles_the_payment(session: Session, alice: User, settings: Settings) -> None:
    payment = top_up(session, alice, settings)
    assert settlement.query_provider(session, payment.id, settings) is None
    decided(session, payment, settings)
    assert settlement.query_provider(session, payment.id, settings) == "credited"
    assert settlement.query_provider(session, payment.id, settings) is None
    assert balance(session, alice) == 150


def test_a_query_after_a_stored_callback_leaves_the_settlement_to_its_job(
    session: Session, alice: User, settings: Settings
) -> None:
    payment = top_up(session, alice, settings)
    event_id = callbacks.store_event(session, "mock", decided(session, payment, settings))
    assert event_id is not None
    assert settlement.query_provider(session, payment.id, settings) is None
    assert settlement.settle(session, event_id) == "credited"


def test_an_unknown_payment_cannot_be_queried(session: Session, settings: Settings) -> None:
    with pytest.raises(NotFound):
        settlement.query_provider(session, some_id(), settings)


def test_payments_are_checked_and_unprocessed_events_found_once_they_are_old(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    waiting, done = top_up(session, alice, settings), top_up(session, alice, settings)
    told(session, done, settings, "succeeded")
    stored = callbacks.store_event(session, "mock", decided(session, waiting, settings))
    minute = timedelta(minutes=1)
    assert status_checks.due(session) == []
    assert callbacks.unprocessed_events(session, older_than=minute) == []
    time.advance(minutes=2)
    assert status_checks.due(session) == [waiting.id]
    assert callbacks.unprocessed_events(session, older_than=minute) == [stored]


def test_another_users_payment_is_not_found(session: Session, alice: User, bob: User, settings: Settings) -> None:
    payment = top_up(session, alice, settings)
    assert payment_queries.owned(session, alice, payment.id) is payment
    with pytest.raises(NotFound):
        payment_queries.owned(session, bob, payment.id)
    assert payment_queries.list_payments(session, limit=10, offset=0, user_id=bob.id).total == 0
    assert payment_queries.list_payments(session, limit=10, offset=0).items == [payment]


def test_the_database_requires_a_settlement_time_for_succeeded_payments(
    session: Session, alice: User, settings: Settings
) -> None:
    top_up(session, alice, settings).status = PaymentStatus.SUCCEEDED
    with pytest.raises(IntegrityError, match="ck_payments_settled"):
        session.flush()
