"""What admins book by hand: chargebacks, reviewed reports, and refunds whose provider says nothing more."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.payments import Payment, PaymentEvent, PaymentStatus, ReversalState
from models.services.actor import Actor
from models.services.errors import DuplicateTransfer, InvalidInput, NotFound, NotRefundable
from models.services.ledger import transfers
from models.services.ledger import verification as ledger_verification
from models.services.payments import manual_booking, manual_review, payment_queries, refunds
from models.users import User
from tests.conftest import make_user, some_id
from tests.factories import REVIEW_RESULTS, actions, balance, buy, top_up
from tests.models.services.payments.test_reversals import paid, refund, said


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


def chargeback(session: Session, payment: Payment, dana: User, rub: str = "500", **more: Any) -> Any:
    facts = {"reference": "ARN 1", "reason": "The bank's letter", "key": uuid.uuid4(), "actor": Actor(dana.id), **more}
    return manual_booking.book_chargeback(session, payment.id, amount_rub=Decimal(rub), **facts)


def end(session: Session, payment: Payment, reversal_id: uuid.UUID, state: ReversalState, dana: User) -> Any:
    facts = {"state": state, "reason": "as the provider wrote", "actor": Actor(dana.id)}
    return manual_booking.end(session, payment.id, reversal_id, **facts)  # type: ignore[arg-type]


def waiting(session: Session) -> PaymentEvent:
    return manual_review.list_reviews().page(session, limit=10, offset=0).items[0]


def book(session: Session, event: PaymentEvent, dana: User) -> PaymentEvent:
    return manual_booking.book_event(session, event.id, note="asked the bank", actor=Actor(dana.id))


def test_a_manual_chargeback_debits_the_wallet_and_leaves_a_debt_like_a_reported_one(
    *, session: Session, erin: User, dana: User, settings: Settings, payment: Payment
) -> None:
    buy(session, erin, settings)
    key = uuid.uuid4()
    booked = chargeback(session, payment, dana, key=key)
    assert (balance(session, erin), transfers.debt_of(session, erin.id)) == (0, 18)
    assert (booked.state, booked.provider_key, payment.status) == (ReversalState.DONE, "ARN 1", PaymentStatus.REFUNDED)
    assert actions(session, erin)[-1] == AuditAction.PAYMENT_DISPUTED
    with pytest.raises(DuplicateTransfer):
        chargeback(session, payment, dana, key=key)
    # Its report comes after all.
    assert said(session, payment, "disputed", "500", refund_id="ARN 1") == "dispute_state"
    end(session, payment, booked.id, ReversalState.WON, dana)
    assert (balance(session, erin), transfers.debt_of(session, erin.id)) == (32, 0)
    # And the bank takes it once more, under the same name.
    chargeback(session, payment, dana)
    assert transfers.debt_of(session, erin.id) == 18


@pytest.mark.parametrize(
    "facts", [{"rub": "500.01"}, {"rub": "0"}, {"reason": ""}, {"reference": ""}, {"reference": "a\nb"}], ids=str
)
def test_a_chargeback_with_an_invalid_amount_or_without_reference_is_refused(
    session: Session, erin: User, dana: User, payment: Payment, facts: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        chargeback(session, payment, dana, **facts)
    assert balance(session, erin) == 50


def test_a_chargeback_is_booked_once_and_up_to_the_paid_amount(
    *, session: Session, erin: User, dana: User, settings: Settings, payment: Payment
) -> None:
    chargeback(session, payment, dana, "100")
    with pytest.raises(InvalidInput, match="dispute_already_booked"):
        chargeback(session, payment, dana, "100")
    with pytest.raises(NotRefundable):
        chargeback(session, top_up(session, erin, settings), dana)
    assert balance(session, erin) == 40


@pytest.mark.parametrize(
    ("state", "left"), [(ReversalState.DONE, 30), (ReversalState.REFUSED, 50)], ids=["carried out", "withdrawn"]
)
def test_a_refund_of_a_removed_provider_is_closed_by_an_admin(
    *, session: Session, erin: User, dana: User, settings: Settings, payment: Payment, state: ReversalState, left: int
) -> None:
    requested = refund(session, payment, dana, "200")
    gone = settings.model_copy(update={"payments": settings.payments.model_copy(update={"providers": ()})})
    with pytest.raises(NotFound):
        refunds.send(session, requested.id, gone)
    end(session, payment, requested.id, state, dana)
    assert (balance(session, erin), requested.state, requested.note) == (left, state, "as the provider wrote")
    with pytest.raises(InvalidInput, match="changed_meanwhile"):
        end(session, payment, requested.id, ReversalState.DONE, dana)
    with pytest.raises(NotFound):
        end(session, payment, some_id(), ReversalState.DONE, dana)


def test_a_success_after_a_cancellation_is_credited_once_by_an_admin(
    *, session: Session, erin: User, dana: User, settings: Settings
) -> None:
    late = top_up(session, erin, settings)
    assert said(session, late, "canceled", "500", refund_id=None) == "canceled"
    for _ in range(2):
        assert said(session, late, "succeeded", "500", refund_id=None) == "payment_state"
    first, second = session.scalars(select(PaymentEvent).where(PaymentEvent.needs_review)).all()
    book(session, first, dana)
    assert (balance(session, erin), late.status, manual_review.count(session)) == (50, PaymentStatus.SUCCEEDED, 1)
    with pytest.raises(InvalidInput, match="nothing_to_book"), session.begin_nested():
        book(session, second, dana)
    assert balance(session, erin) == 50


@pytest.mark.parametrize(
    ("story", "left"),
    [
        ([("refunded", "300"), ("disputed", "300")], 0),
        ([("disputed", "500"), ("dispute_won", "500"), ("disputed", "500")], 0),
        ([("refunded", "500"), ("refund_failed", "500"), ("refunded", "500")], 0),
    ],
)
def test_refunds_and_disputes_without_a_rule_are_booked_by_an_admin(
    *, session: Session, erin: User, dana: User, payment: Payment, story: list[Any], left: int
) -> None:
    result = ""
    for number, (outcome, rub) in enumerate(story):
        name = f"r-{number}" if len(story) == 2 else "r"
        result = said(session, payment, outcome, rub, refund_id=name)
    assert result in REVIEW_RESULTS
    event = book(session, waiting(session), dana)
    assert (balance(session, erin), manual_review.count(session), event.review_note) == (left, 0, "asked the bank")
    assert payment_queries.by_id(session, payment.id).status is PaymentStatus.REFUNDED


def test_an_event_that_cannot_be_booked_is_refused_and_stays_on_the_list(
    session: Session, dana: User, payment: Payment
) -> None:
    said(session, payment, "disputed", "4", currency="USD")
    with pytest.raises(InvalidInput, match="nothing_to_book"), session.begin_nested():
        book(session, waiting(session), dana)
    assert manual_review.count(session) == 1
