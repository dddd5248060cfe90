"""Providers are asked again until they have answered, and about settled payments while something may happen."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.payments import Payment, PaymentStatus
from models.services.payments import callbacks, settlement, status_checks
from models.users import User
from tests.conftest import Clock
from tests.factories import decided, top_up


@pytest.fixture
def payment(session: Session, alice: User, settings: Settings, time: Clock) -> Payment:
    """One that began two minutes ago and is due for its first check."""
    started = top_up(session, alice, settings)
    assert status_checks.due(session) == []
    time.advance(minutes=2)
    assert status_checks.due(session) == [started.id]
    return started


def waits(session: Session, payment: Payment, time: Clock) -> list[timedelta]:
    """Ask whenever it is time, for a year, and return the waits between."""
    found, last = [], time()
    for _ in range(1000):
        session.refresh(payment)
        if payment.check_at is None:
            return found
        if payment.check_at > time():
            time.advance(seconds=(payment.check_at - time()).total_seconds())
        assert status_checks.due(session) == [payment.id]
        settlement.query_provider(session, payment.id, SETTINGS[0])
        found.append(time() - last)
        last = time()
    raise AssertionError("it is asked about for ever")


SETTINGS: list[Settings] = []


@pytest.fixture(autouse=True)
def known_settings(settings: Settings) -> None:
    SETTINGS[:] = [settings]


def test_an_undecided_payment_is_checked_each_minute_and_then_less_often_for_a_month(
    session: Session, payment: Payment, time: Clock
) -> None:
    began = payment.created_at
    found = waits(session, payment, time)
    assert found[1:8] == [timedelta(minutes=1)] * 7
    assert timedelta(days=30) <= time() - began < timedelta(days=33)
    # An abandoned checkout costs its provider no thousand requests.
    assert len(found) < 100


def test_a_settled_payment_is_checked_for_refunds_and_disputes_for_half_a_year(
    session: Session, payment: Payment, settings: Settings, time: Clock
) -> None:
    # Cardholders have 120 days and more to dispute (docs.stripe.com/disputes/how-disputes-work).
    stored = callbacks.store_event(session, "mock", decided(session, payment, settings))
    assert stored is not None
    settlement.settle(session, stored)
    began = time()
    found = waits(session, payment, time)
    assert found[:2] == [timedelta(hours=1)] * 2
    assert timedelta(days=180) <= time() - began < timedelta(days=280)
    assert len(found) < 40


def test_a_canceled_payment_is_not_checked(session: Session, payment: Payment, settings: Settings) -> None:
    decided(session, payment, settings, "canceled")
    assert settlement.query_provider(session, payment.id, settings) == "canceled"
    session.refresh(payment)
    assert (payment.status, payment.check_at) == (PaymentStatus.CANCELED, None)


def test_a_check_without_response_is_retried_with_growing_delays(
    session: Session, payment: Payment, settings: Settings, time: Clock
) -> None:
    found = []
    for _ in range(12):
        status_checks.unanswered(session, payment.id, settings)
        session.refresh(payment)
        assert payment.check_at is not None
        found.append((payment.check_at - time()).total_seconds())
        time.advance(seconds=found[-1])
        assert status_checks.due(session) == [payment.id]
    assert found[:4] == [15, 30, 60, 120]
    assert found[-3:] == [3600] * 3
    settlement.query_provider(session, payment.id, settings)
    session.refresh(payment)
    assert payment.check_failures == 0


def test_a_report_during_a_check_causes_another_check(
    session: Session, payment: Payment, settings: Settings, time: Clock
) -> None:
    asked_at: datetime = time()
    time.advance(seconds=3)
    status_checks.request(session, payment.id)
    # The answer was on its way before the report: it may not know of what was reported.
    status_checks.answered(session, payment.id, asked_at=asked_at, settings=settings)
    assert status_checks.due(session) == [payment.id]


def test_the_longest_due_payments_are_checked_first(
    session: Session, alice: User, payment: Payment, settings: Settings, time: Clock
) -> None:
    younger = top_up(session, alice, settings, str(Decimal(1)))
    time.advance(minutes=3)
    assert status_checks.due(session, limit=1) == [payment.id]
    status_checks.unanswered(session, payment.id, settings)
    assert status_checks.due(session, limit=1) == [younger.id]
