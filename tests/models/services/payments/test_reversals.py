"""Money that goes back to a payer: taken once, from the wallet first, and owed when it is spent already."""

import uuid
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.database import Sessions
from models.outbox import OutboxMail
from models.payments import Payment, PaymentEvent, PaymentReversal, PaymentStatus, ReversalState
from models.services.actor import PLATFORM, Actor
from models.services.errors import (
    CallbackRefused,
    DebtOpen,
    DuplicateTransfer,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    NotRefundable,
    PaymentSpent,
    ProviderDown,
    ProviderRefused,
)
from models.services.ledger import adjustments, transfers
from models.services.ledger import verification as ledger_verification
from models.services.payments import callbacks, manual_review, refunds, settlement
from models.services.payments.providers import mock
from models.services.payments.providers.base import Callback, Event, Outcome
from models.services.tokens import revocation
from models.users import User
from tests.conftest import Clock, make_user, some_id
from tests.factories import REVIEW_RESULTS, actions, assert_sound, balance, buy, decided, person, race, top_up


def paid(session: Session, user: User, settings: Settings, amount: str = "50") -> Payment:
    """A settled top-up."""
    payment = top_up(session, user, settings, amount)
    event_id = callbacks.store_event(session, "mock", decided(session, payment, settings))
    assert event_id is not None
    settlement.settle(session, event_id)
    return payment


def said(session: Session, payment: Payment, outcome: Outcome, rub: str, **more: Any) -> str:
    """Let the provider say something of a part of a payment; returns what was done."""
    facts = {"event_id": str(some_id()), "currency": "RUB", "body": {}, "refund_id": str(some_id()), **more}
    event = Event(
        provider_payment_id=str(payment.provider_payment_id), outcome=outcome, amount_rub=Decimal(rub), **facts
    )
    stored = callbacks.store_event(session, "mock", event)
    return "" if stored is None else settlement.settle(session, stored)


def refund(session: Session, payment: Payment, dana: User, rub: str = "500", **more: Any) -> PaymentReversal:
    facts = {"amount_rub": Decimal(rub), "reason": "as agreed", "key": uuid.uuid4(), "actor": Actor(dana.id), **more}
    return refunds.request(session, payment.id, **facts)


@pytest.fixture
def erin(session: Session) -> User:
    """Somebody whose whole balance is one payment."""
    return make_user(session, "erin")


@pytest.fixture
def payment(session: Session, erin: User, settings: Settings) -> Payment:
    """50 ZNC for 500 rubles, settled."""
    return paid(session, erin, settings)


@pytest.fixture(autouse=True)
def sound(session: Session) -> Any:
    """Ledger verification passes after every test."""
    yield
    session.flush()
    assert [rule for rule in ledger_verification.RULES if ledger_verification.failed_checks(session, rule)] == []


def test_an_admins_refund_debits_the_znc_at_once_and_is_sent_to_the_provider(
    *, session: Session, erin: User, dana: User, settings: Settings, payment: Payment
) -> None:
    reversal = refund(session, payment, dana)
    assert (balance(session, erin), payment.status) == (0, PaymentStatus.REFUNDED)
    assert refunds.send(session, reversal.id, settings) is ReversalState.DONE
    assert refunds.send(session, reversal.id, settings) is ReversalState.DONE
    assert reversal.provider_key == f"refund-{reversal.id}"
    mails = session.scalars(select(OutboxMail).where(OutboxMail.kind == "money_back")).all()
    assert [mail.context["amount_rub"] for mail in mails] == ["500.00"]
    assert actions(session, erin)[-2:] == [AuditAction.PAYMENT_REFUND_REQUESTED, AuditAction.PAYMENT_REFUNDED]


def test_parts_are_rounded_so_that_they_add_up_to_the_payment(
    session: Session, erin: User, dana: User, settings: Settings
) -> None:
    dear = settings.model_copy(update={"prices": settings.prices.model_copy(update={"rub_per_znc": Decimal("9.99")})})
    payment = paid(session, erin, dear, "10")
    znc = [refund(session, payment, dana, rub).amount_znc for rub in ("33.33", "33.33", "33.24")]
    assert znc == [Decimal("3.34"), Decimal("3.34"), Decimal("3.32")]
    assert (payment.status, payment.returned_znc, balance(session, erin)) == (PaymentStatus.REFUNDED, 10, 0)
    with pytest.raises(NotRefundable):
        refund(session, payment, dana, "0.01")


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"amount_rub": Decimal("500.01")}, InvalidInput),
        ({"amount_rub": Decimal(0)}, InvalidInput),
        ({"amount_rub": Decimal(-1)}, InvalidInput),
        ({"amount_rub": Decimal("NaN")}, InvalidInput),
        ({"amount_rub": Decimal("0.001")}, InvalidInput),
        ({"reason": ""}, InvalidInput),
        ({"reason": "two\nlines"}, InvalidInput),
    ],
)
def test_a_refund_of_an_invalid_amount_is_refused(
    *, session: Session, erin: User, dana: User, payment: Payment, facts: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        refund(session, payment, dana, **facts)
    assert (balance(session, erin), payment.returned_rub) == (50, 0)


def test_refunds_are_limited_to_unspent_znc_of_settled_payments(
    *, session: Session, erin: User, dana: User, settings: Settings, payment: Payment
) -> None:
    buy(session, erin, settings)
    with pytest.raises(PaymentSpent):
        refund(session, payment, dana)
    assert refund(session, payment, dana, "320").amount_znc == 32
    with pytest.raises(NotRefundable):
        refund(session, top_up(session, erin, settings), dana)
    with pytest.raises(NotFound):
        refunds.request(session, some_id(), amount_rub=Decimal(1), reason="none", key=some_id(), actor=PLATFORM)


def test_a_form_sent_twice_refunds_once(session: Session, erin: User, dana: User, payment: Payment) -> None:
    key = uuid.uuid4()
    refund(session, payment, dana, "100", key=key)
    with pytest.raises(DuplicateTransfer):
        refund(session, payment, dana, "100", key=key)
    assert balance(session, erin) == 40


def test_a_refund_refused_by_the_provider_credits_the_znc_again(
    *, session: Session, erin: User, dana: User, settings: Settings, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: Any) -> str:
        raise ProviderRefused("The card is closed.")

    reversal = refund(session, payment, dana)
    monkeypatch.setattr(mock.MockProvider, "refund", no)
    assert refunds.send(session, reversal.id, settings) is ReversalState.REFUSED
    assert (balance(session, erin), payment.status, reversal.note) == (
        50,
        PaymentStatus.SUCCEEDED,
        "The card is closed.",
    )
    assert AuditAction.PAYMENT_REFUND_REFUSED in actions(session, erin)


def test_a_refund_is_retried_while_the_provider_does_not_respond(
    *, session: Session, dana: User, settings: Settings, payment: Payment, monkeypatch: pytest.MonkeyPatch, time: Clock
) -> None:
    def silence(*_: Any) -> str:
        raise ProviderDown

    reversal = refund(session, payment, dana)
    with monkeypatch.context() as patch:
        patch.setattr(mock.MockProvider, "refund", silence)
        with pytest.raises(ProviderDown):
            refunds.send(session, reversal.id, settings)
    time.advance(minutes=1)
    assert refunds.due(session, older_than=timedelta(seconds=15)) == [reversal.id]
    refunds.postpone(session, reversal.id)
    # One that its provider does not carry out keeps no other waiting.
    assert refunds.due(session, older_than=timedelta(seconds=15)) == []
    time.advance(seconds=15)
    assert refunds.due(session, older_than=timedelta(seconds=15)) == [reversal.id]
    assert refunds.send(session, reversal.id, settings) is ReversalState.DONE
    assert refunds.due(session, older_than=timedelta(seconds=15)) == []


def test_the_providers_report_of_our_refund_books_no_second_one(
    *, session: Session, erin: User, dana: User, settings: Settings, payment: Payment
) -> None:
    first = refund(session, payment, dana, "100")
    # The callback overtakes the job: known by our key, and without it by the amount.
    assert said(session, payment, "refunded", "100", refund_key=str(first.id)) == "refunded"
    assert refunds.send(session, first.id, settings) is ReversalState.DONE
    second = refund(session, payment, dana, "200")
    assert said(session, payment, "refunded", "200", refund_id="r-2") == "refunded"
    assert second.provider_key == "r-2"
    # And once more, under another event id.
    assert said(session, payment, "refunded", "200", refund_id="r-2") == "refund_state"
    assert (balance(session, erin), payment.returned_rub) == (20, 300)


def test_a_refund_made_at_the_provider_is_booked(session: Session, erin: User, payment: Payment) -> None:
    assert said(session, payment, "refunded", "200") == "refunded"
    assert (balance(session, erin), payment.returned_znc) == (30, 20)


def test_a_chargeback_leaves_a_debt_that_blocks_purchases_until_it_is_repaid(
    *, session: Session, erin: User, settings: Settings, payment: Payment
) -> None:
    token = buy(session, erin, settings)
    assert said(session, payment, "disputed", "500", refund_id="d-1") == "disputed"
    assert (balance(session, erin), transfers.debt_of(session, erin.id)) == (0, 18)
    with pytest.raises(DebtOpen) as caught, session.begin_nested():
        buy(session, erin, settings, hours=1)
    assert (caught.value.debt, caught.value.needed) == (18, 19)
    # Whatever comes in repays first: a gift of an admin, unused time, a top-up.
    adjustments.adjust(session, erin, amount=Decimal(3), reason="goodwill", actor=PLATFORM)
    assert (balance(session, erin), transfers.debt_of(session, erin.id)) == (0, 15)
    paid(session, erin, settings, "20")
    assert (balance(session, erin), transfers.debt_of(session, erin.id)) == (5, 0)
    revocation.revoke(session, erin, token.id, settings=settings, actor=PLATFORM)
    assert balance(session, erin) == 23
    buy(session, erin, settings, hours=1)


def test_a_balance_cannot_be_set_while_there_is_a_debt(
    *, session: Session, erin: User, settings: Settings, payment: Payment
) -> None:
    # Either the wallet holds the target afterwards or the change is refused: a credit repays the debt first.
    buy(session, erin, settings)
    said(session, payment, "disputed", "500", refund_id="d-1")
    facts = {"reason": "goodwill", "actor": PLATFORM}
    with pytest.raises(InvalidInput, match=r"user_in_debt \(debt=18\.00\)"):
        adjustments.set_balance(session, erin, target=Decimal(18), **facts)
    assert (balance(session, erin), transfers.debt_of(session, erin.id)) == (0, 18)
    assert adjustments.set_balance(session, erin, target=Decimal(0), **facts) == 0


def test_a_won_dispute_credits_the_znc_once_and_repays_the_debt(
    *, session: Session, erin: User, settings: Settings, payment: Payment
) -> None:
    buy(session, erin, settings)
    said(session, payment, "disputed", "500", refund_id="d-1")
    assert said(session, payment, "disputed", "500", refund_id="d-1") == "dispute_state"
    assert said(session, payment, "dispute_won", "500", refund_id="d-1") == "dispute_won"
    assert said(session, payment, "dispute_won", "500", refund_id="d-1") == "dispute_state"
    assert (balance(session, erin), transfers.debt_of(session, erin.id)) == (32, 0)
    assert (payment.status, payment.returned_rub) == (PaymentStatus.SUCCEEDED, 0)


def test_a_refund_reported_before_its_payment_waits_for_it(
    *, session: Session, erin: User, settings: Settings, time: Clock
) -> None:
    payment = top_up(session, erin, settings)
    assert said(session, payment, "refunded", "100", refund_id="r-1") == "waiting"
    time.advance(minutes=1)
    first = callbacks.unprocessed_events(session, older_than=timedelta(seconds=15))
    stored = callbacks.store_event(session, "mock", decided(session, payment, settings))
    assert stored is not None
    settlement.settle(session, stored)
    assert [settlement.settle(session, event_id) for event_id in first] == ["refunded"]
    assert balance(session, erin) == 40


def test_events_without_a_rule_are_left_to_an_admin_who_records_a_note(
    *, session: Session, erin: User, dana: User, settings: Settings, payment: Payment, time: Clock
) -> None:
    never = top_up(session, erin, settings)
    said(session, never, "refunded", "100")
    time.advance(days=2)
    [late] = callbacks.unprocessed_events(session, older_than=timedelta(seconds=15))
    assert settlement.settle(session, late) == "payment_state"
    said(session, payment, "refunded", "300")
    assert said(session, payment, "disputed", "300") == "amount_exceeds_payment"
    assert said(session, payment, "dispute_won", "100") == "dispute_unknown"
    assert manual_review.count(session) == 3
    event = manual_review.list_reviews().page(session, limit=10, offset=0).items[0]
    with pytest.raises(InvalidInput):
        manual_review.close(session, event.id, note=" ", actor=Actor(dana.id))
    manual_review.close(session, event.id, note="asked the bank", actor=Actor(dana.id))
    assert (manual_review.count(session), event.reviewed_by) == (2, dana.id)
    with pytest.raises(NotFound):
        manual_review.close(session, event.id, note="again", actor=Actor(dana.id))


@pytest.mark.parametrize(
    ("rub", "currency"), [("0", "RUB"), ("-5", "RUB"), ("500.01", "RUB"), ("400", "USD"), ("500", "EUR")]
)
@pytest.mark.parametrize("outcome", ["refunded", "disputed"])
def test_a_refund_above_the_payment_is_left_to_an_admin(
    *, session: Session, erin: User, payment: Payment, rub: str, currency: str, outcome: Outcome
) -> None:
    # docs.stripe.com/api/disputes/object, "amount": it can differ from the charge's, for instance by its currency.
    assert said(session, payment, outcome, rub, currency=currency) in REVIEW_RESULTS
    assert (balance(session, erin), manual_review.count(session)) == (50, 1)


def test_a_refund_reported_under_an_unknown_id_waits_for_the_payment(
    session: Session, erin: User, settings: Settings, time: Clock
) -> None:
    # Stripe names the payment intent in a refund, which only a paid session tells, and promises no order of its events
    # (docs.stripe.com/webhooks, "Event ordering").
    payment = top_up(session, erin, settings)
    facts = {"event_id": "e-1", "currency": "RUB", "body": {"of": "a stranger"}, "refund_id": "r-1"}
    early = Event(provider_payment_id="pi_1", outcome="refunded", amount_rub=Decimal(100), **facts)  # type: ignore[arg-type]
    first = callbacks.store_event(session, "mock", early)
    other = replace(early, provider_payment_id="pi_of_another", event_id="e-2")
    foreign = callbacks.store_event(session, "mock", other)
    assert first is not None
    assert foreign is not None
    assert [settlement.settle(session, stored) for stored in (first, foreign)] == ["waiting"] * 2
    assert callbacks.unprocessed_events(session, older_than=timedelta(0)) == []
    time.advance(minutes=1)
    paid_event = replace(decided(session, payment, settings), charge_id="pi_1")
    stored = callbacks.store_event(session, "mock", paid_event)
    assert stored is not None
    settlement.settle(session, stored)
    assert first in callbacks.unprocessed_events(session, older_than=timedelta(seconds=15))
    assert settlement.settle(session, first) == "refunded"
    assert balance(session, erin) == 40
    time.advance(days=1)
    assert settlement.settle(session, foreign) == "payment_unknown"
    # What another product's customers have paid for is none of our business.
    assert session.get_one(PaymentEvent, foreign).body == {}
    assert manual_review.count(session) == 0


def test_waiting_events_do_not_delay_newer_ones(session: Session, erin: User, settings: Settings, time: Clock) -> None:
    payment = top_up(session, erin, settings)
    for number in range(3):
        said(session, payment, "refunded", "1", refund_id=f"r-{number}")
    time.advance(minutes=1)
    late = top_up(session, erin, settings)
    stored = callbacks.store_event(session, "mock", decided(session, late, settings))
    time.advance(seconds=1)
    waiting = callbacks.unprocessed_events(session, older_than=timedelta(0), limit=10)
    for event_id in waiting:
        settlement.settle(session, event_id)
    time.advance(seconds=59)
    # Each waits for as long as it is old, so that the list of a few hundred is never full of the same ones.
    assert callbacks.unprocessed_events(session, older_than=timedelta(0), limit=10) == []
    assert stored in waiting


@pytest.mark.parametrize(
    ("story", "last"),
    [
        (["disputed", "dispute_won", "disputed"], "dispute_state"),
        (["refunded", "refund_failed", "refunded"], "refund_state"),
    ],
)
def test_a_later_contrary_report_is_left_to_an_admin(
    *, session: Session, erin: User, payment: Payment, story: list[Outcome], last: str
) -> None:
    # docs.stripe.com/webhooks, "Event ordering": the last report may be news, or the first one that was late.
    results = [said(session, payment, outcome, "500", refund_id="r-1") for outcome in story]
    assert results[-1] == last
    assert (balance(session, erin), manual_review.count(session)) == (50, 1)


def test_a_refund_that_differs_from_the_booked_amount_is_left_to_an_admin(
    session: Session, erin: User, dana: User, payment: Payment
) -> None:
    ours = refund(session, payment, dana, "100")
    result = said(session, payment, "refunded", "120", refund_key=str(ours.id))
    assert result == "amount_differs"
    assert balance(session, erin) == 40


def test_the_mock_providers_signed_callbacks_book_refunds_and_disputes(
    session: Session, erin: User, settings: Settings, payment: Payment, time: Clock
) -> None:
    provider = mock.MockProvider(settings)
    content = {
        "id": str(some_id()),
        "event": "dispute.opened",
        "payment": {"id": payment.provider_payment_id, "amount": "500.00", "currency": "RUB"},
        "refund": {"id": "d-1", "amount": "120.00"},
    }
    body, headers = provider.signed(content)
    event = provider.verify(Callback(headers, body, time()))
    assert (event.outcome, event.amount_rub, event.refund_id) == ("disputed", 120, "d-1")
    with pytest.raises(CallbackRefused):
        provider.verify(Callback(headers, body.replace(b"120", b"121"), time()))
    stored = callbacks.store_event(session, "mock", replace(event))
    assert stored is not None
    assert settlement.settle(session, stored) == "disputed"
    assert balance(session, erin) == 38


def test_a_chargeback_and_a_purchase_at_the_same_instant_never_spend_the_same_money(
    committed: tuple[Settings, Sessions],
) -> None:
    settings, factory = committed
    for number in range(5):
        erin = person(factory, f"erin{number}")
        with factory.begin() as session:
            payment = paid(session, erin, settings, "18")

        def purchase(erin: User = erin) -> Any:
            with factory.begin() as session:
                return buy(session, erin, settings)

        def dispute(payment: Payment = payment) -> str:
            with factory.begin() as session:
                return said(session, payment, "disputed", "180")

        bought, disputed = race(purchase, dispute)
        assert disputed == "disputed"
        with factory.begin() as session:
            owed = transfers.debt_of(session, erin.id)
            assert balance(session, erin) == 0
            assert owed == (0 if isinstance(bought, InsufficientFunds) else 18)
    assert_sound(factory)


def test_two_admins_at_the_same_instant_refund_no_more_than_was_paid(committed: tuple[Settings, Sessions]) -> None:
    settings, factory = committed
    erin, dana = person(factory, "erin"), person(factory, "dana", is_superuser=True)
    with factory.begin() as session:
        payment = paid(session, erin, settings)

    def give() -> Any:
        with factory.begin() as session:
            return refund(session, payment, dana, "300")

    results = race(give, give)
    assert {type(result) for result in results} == {PaymentReversal, InvalidInput}
    with factory.begin() as session:
        assert balance(session, erin) == 20
    assert_sound(factory)
