"""A slow or failing provider: events are queried again, and no lock is held during a call."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from jobs import context
from jobs import payments as jobs
from models import clock
from models.config.settings import Settings
from models.database import Sessions
from models.payments import Payment, ReversalState
from models.services.accounts import roles
from models.services.actor import PLATFORM, Actor
from models.services.payments import refunds, settlement, status_checks, topups
from models.users import User
from tests.conftest import Clock, some_id
from tests.factories import assert_sound, balance, person
from tests.providers.fake_yookassa import YooKassaFarSide

Shop = tuple[Settings, Sessions, YooKassaFarSide]


@pytest.fixture
def running(
    committed: tuple[Settings, Sessions],
    shop: Settings,
    yookassa_side: YooKassaFarSide,
    monkeypatch: pytest.MonkeyPatch,
) -> Shop:
    """An installation with real commits, whose jobs run here."""
    settings = committed[0].model_copy(update={"payments": shop.payments})
    monkeypatch.setattr(context, "settings", lambda: settings)
    monkeypatch.setattr(context, "sessions", lambda: committed[1])
    return settings, committed[1], yookassa_side


@pytest.fixture
def payment(running: Shop) -> Payment:
    """500 rubles that erin has paid through YooKassa."""
    settings, factory, side = running
    started = start(running, person(factory, "erin"))
    side.decide(str(started.provider_payment_id))
    with factory.begin() as session:
        assert settlement.query_provider(session, started.id, settings) == "credited"
    return started


def start(running: Shop, user: User) -> Payment:
    settings, factory, _side = running
    facts = {"amount": Decimal(50), "provider": "yookassa", "return_url": "http://shop/", "settings": settings}
    with factory.begin() as session:
        return topups.start(session, user, **facts, actor=PLATFORM)  # type: ignore[arg-type]


def test_a_refund_reported_while_the_providers_api_fails_is_booked(
    running: Shop, payment: Payment, time: Clock
) -> None:
    _settings, factory, side = running
    side.give_back(str(payment.provider_payment_id), "120.00")
    with factory.begin() as session:
        status_checks.request(session, payment.id)
    side.failures = [500, 0, 502, 429]
    for _ in range(4):
        assert jobs.ask(str(payment.id)) is None
    # Nothing more is reported to us: it is our turn to ask.
    time.advance(minutes=5)
    assert [jobs.ask_providers() for _ in range(2)] == [1, 0]
    with factory.begin() as session:
        assert balance(session, session.scalars(select(User)).one()) == 38
    assert_sound(factory)


def test_38_an_unreported_refund_is_found_by_checking_settled_payments(
    running: Shop, payment: Payment, time: Clock
) -> None:
    _settings, factory, side = running
    side.give_back(str(payment.provider_payment_id), "120.00")
    assert jobs.ask_providers() == 0
    time.advance(minutes=61)
    assert jobs.ask_providers() == 1
    with factory.begin() as session:
        assert balance(session, session.scalars(select(User)).one()) == 38


def test_a_refund_is_carried_out_once_its_provider_answers(running: Shop, payment: Payment, time: Clock) -> None:
    _settings, factory, side = running
    facts = {"amount_rub": Decimal(200), "reason": "as agreed", "key": some_id(), "actor": PLATFORM}
    with factory.begin() as session:
        reversal = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
    side.failures = [500] * 3
    assert jobs.send_refund(str(reversal.id)) == "requested"
    for _ in range(2):
        time.advance(minutes=2)
        assert jobs.sweep_refunds() == 0
    time.advance(minutes=2)
    assert jobs.sweep_refunds() == 1
    with factory.begin() as session:
        assert session.get_one(type(reversal), reversal.id).state is ReversalState.DONE


@pytest.fixture
def slow(running: Shop) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Two events: the provider was called, and it may respond."""
    side, asked, may_answer = running[2], threading.Event(), threading.Event()
    handle = side.handle

    def wait(*request: Any) -> Any:
        asked.set()
        assert may_answer.wait(timeout=20)
        return handle(*request)

    side.handle = wait  # type: ignore[method-assign]
    yield asked, may_answer
    may_answer.set()


def test_a_buyer_can_be_disabled_while_a_slow_provider_starts_a_payment(
    running: Shop, slow: tuple[threading.Event, threading.Event]
) -> None:
    _settings, factory, _side = running
    erin, dana = person(factory, "erin"), person(factory, "dana", is_superuser=True)
    disable = partial(roles.set_active, user_id=erin.id, active=False, actor=Actor(dana.id))
    _during(running, slow, partial(start, running, erin), disable)
    with factory.begin() as session:
        assert not session.get_one(User, erin.id).is_active


@pytest.mark.parametrize("job", ["ask", "refund"])
def test_a_payment_can_be_refunded_while_a_slow_provider_is_queried(
    running: Shop, payment: Payment, job: str, request: pytest.FixtureRequest
) -> None:
    _settings, factory, _side = running
    facts = {"amount_rub": Decimal(100), "reason": "as agreed", "actor": PLATFORM}
    with factory.begin() as session:
        first = refunds.request(session, payment.id, key=some_id(), **facts)  # type: ignore[arg-type]
    slow = request.getfixturevalue("slow")
    asks = partial(jobs.ask, str(payment.id)) if job == "ask" else partial(jobs.send_refund, str(first.id))
    _during(running, slow, asks, partial(refunds.request, payment_id=payment.id, key=some_id(), **facts))
    assert_sound(factory)


def _during(running: Shop, slow: tuple[threading.Event, threading.Event], asks: Any, act: Any) -> None:
    """Run something that must not block during a call to the provider."""
    asked, may_answer = slow
    thread = threading.Thread(target=asks, daemon=True)
    thread.start()
    assert asked.wait(timeout=10)
    began = clock.now()
    with running[1].begin() as session:
        act(session)
    assert (clock.now() - began).total_seconds() < 3
    may_answer.set()
    thread.join(timeout=20)
    assert not thread.is_alive()
