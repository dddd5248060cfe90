"""A refund returns no more than the unspent part of its own payment: what came in first is spent first."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.bundles import Bundle
from models.config.settings import Settings
from models.services.actor import PLATFORM, Actor
from models.services.errors import PaymentSpent
from models.services.ledger import adjustments
from models.services.payments import unspent
from models.services.tokens import bundles, revocation
from models.users import User
from tests.conftest import make_user
from tests.factories import balance, buy
from tests.models.services.payments.test_reversals import paid, refund, said


@pytest.fixture
def erin(session: Session) -> User:
    return make_user(session, "erin")


def test_a_spent_payment_cannot_be_refunded_from_gifts_or_other_payments(
    *, session: Session, erin: User, dana: User, settings: Settings
) -> None:
    first = paid(session, erin, settings, "18")
    buy(session, erin, settings)
    second = paid(session, erin, settings, "20")
    adjustments.adjust(session, erin, amount=Decimal(30), reason="goodwill", actor=PLATFORM)
    assert balance(session, erin) == 50
    with pytest.raises(PaymentSpent) as caught:
        refund(session, first, dana, "180")
    assert caught.value.unspent == 0
    assert [unspent.unspent_amount(session, payment) for payment in (first, second)] == [0, 20]
    refund(session, second, dana, "200")
    assert balance(session, erin) == 30


def test_refunded_time_returns_to_the_payment_that_bought_it(
    *, session: Session, erin: User, dana: User, settings: Settings
) -> None:
    payment = paid(session, erin, settings, "18")
    token = buy(session, erin, settings)
    adjustments.adjust(session, erin, amount=Decimal(5), reason="goodwill", actor=PLATFORM)
    assert unspent.unspent_amount(session, payment) == 0
    revocation.revoke(session, erin, token.id, settings=settings, actor=PLATFORM)
    assert unspent.unspent_amount(session, payment) == 18
    refund(session, payment, dana, "180")
    assert balance(session, erin) == 5


def test_refunds_of_a_bundles_tokens_return_to_the_payment_that_bought_it(
    *, session: Session, erin: User, settings: Settings
) -> None:
    payment = paid(session, erin, settings, "100")
    starter = session.scalars(select(Bundle.id).where(Bundle.name == "Starter")).one()
    facts: dict[str, Any] = {"purchase_id": uuid.uuid4(), "settings": settings, "actor": Actor(erin.id)}
    bundles.purchase(session, erin, starter, **facts)
    assert unspent.unspent_amount(session, payment) == 19
    for token_id in session.scalars(select(AccessToken.id).where(AccessToken.user_id == erin.id)).all():
        revocation.revoke(session, erin, token_id, settings=settings, actor=PLATFORM)
    assert unspent.unspent_amount(session, payment) == balance(session, erin)


def test_a_chargeback_debits_its_own_payment_first_and_a_won_dispute_credits_it_again(
    *, session: Session, erin: User, settings: Settings
) -> None:
    first, second = paid(session, erin, settings, "20"), paid(session, erin, settings, "20")
    said(session, second, "disputed", "200", refund_id="d-1")
    assert [unspent.unspent_amount(session, payment) for payment in (first, second)] == [20, 0]
    said(session, second, "dispute_won", "200", refund_id="d-1")
    assert [unspent.unspent_amount(session, payment) for payment in (first, second)] == [20, 20]
