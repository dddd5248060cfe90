"""Payments through YooKassa: notifications are accepted only from its addresses and confirmed by a query."""

from decimal import Decimal

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from jobs.queues import QueueDown
from models import clock
from models.config.settings import Settings
from models.payments import Payment, PaymentFailure, PaymentStatus, ReversalState
from models.services.actor import Actor
from models.services.errors import CallbackRefused, ProviderDown, ProviderRefused
from models.services.payments import callbacks, manual_review, providers, refunds, settlement, status_checks, topups
from models.services.payments.providers import Callback, StatusHint
from models.users import User
from portal.request import context
from tests.conftest import some_id
from tests.factories import REVIEW_RESULTS, balance
from tests.portal.conftest import Jobs
from tests.providers.fake_yookassa import YooKassaFarSide, notification

PATH = "/api/v1/webhooks/payment/yookassa"
THEIRS = "185.71.76.5"


@pytest.fixture
def payment(session: Session, charlie: User, shop: Settings) -> Payment:
    """500 rubles for 50 ZNC, at YooKassa's page."""
    facts = {"amount": Decimal(50), "provider": "yookassa", "return_url": "http://shop/wallet", "settings": shop}
    started = topups.start(session, charlie, **facts, actor=Actor(charlie.id))  # type: ignore[arg-type]
    session.commit()
    return started


def hears(shop: Settings, body: bytes, address: str = THEIRS) -> object:
    return providers.get("yookassa", shop).verify(Callback({}, body, clock.now(), address))


def test_a_payment_is_created_once_and_leads_to_its_page(
    *, session: Session, payment: Payment, shop: Settings, yookassa_side: YooKassaFarSide
) -> None:
    again = providers.get("yookassa", shop).create(session, payment)
    [made] = yookassa_side.payments.values()
    assert (payment.provider_payment_id, payment.checkout_url) == (made["id"], again)
    assert made["amount"] == {"value": "500.00", "currency": "RUB"}
    assert made["metadata"]["payment_id"] == str(payment.id)


def test_a_notification_causes_a_query_whose_result_is_settled_once(
    *, session: Session, payment: Payment, charlie: User, shop: Settings, yookassa_side: YooKassaFarSide
) -> None:
    name = str(payment.provider_payment_id)
    # Its body says "paid"; YooKassa itself does not.
    assert hears(shop, notification("payment.succeeded", {"id": name, "status": "succeeded"})) == StatusHint(name)
    assert callbacks.payment_to_query(session, "yookassa", StatusHint(name)) == payment.id
    assert settlement.query_provider(session, payment.id, shop) is None
    yookassa_side.decide(name, "waiting_for_capture")
    assert settlement.query_provider(session, payment.id, shop) is None
    yookassa_side.decide(name)
    assert [settlement.query_provider(session, payment.id, shop) for _ in range(2)] == ["credited", None]
    assert balance(session, charlie) == 50


def test_a_canceled_payment_is_canceled(
    session: Session, payment: Payment, shop: Settings, yookassa_side: YooKassaFarSide
) -> None:
    yookassa_side.decide(str(payment.provider_payment_id), "canceled")
    assert settlement.query_provider(session, payment.id, shop) == "canceled"
    assert payment.status is PaymentStatus.CANCELED


@pytest.mark.parametrize("address", ["185.71.76.1", "::ffff:185.71.76.1", "2a02:5180::1", "2a02:5180::1%eth0"])
def test_a_notification_from_a_published_network_is_accepted_in_any_address_notation(
    shop: Settings, payment: Payment, address: str
) -> None:
    name = str(payment.provider_payment_id)
    assert hears(shop, notification("payment.succeeded", {"id": name}), address) == StatusHint(name)


@pytest.mark.parametrize(
    "address", ["203.0.113.9", "127.0.0.1", "185.71.78.1", "2a02:5181::1", "::ffff:185.71.78.1", "unknown", ""]
)
def test_a_notification_from_elsewhere_is_refused(shop: Settings, payment: Payment, address: str) -> None:
    with pytest.raises(CallbackRefused, match="address"):
        hears(shop, notification("payment.succeeded", {"id": payment.provider_payment_id}), address)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"event": "payment.x"}', b"\xff", b'{"event": 1, "object": 2}'])
def test_a_body_in_another_format_is_refused(shop: Settings, body: bytes) -> None:
    if body == b'{"event": 1, "object": 2}':
        assert hears(shop, body) is None
        return
    with pytest.raises(CallbackRefused):
        hears(shop, body)


def test_an_unknown_payment_is_not_queried(session: Session, payment: Payment) -> None:
    assert callbacks.payment_to_query(session, "yookassa", StatusHint("of another shop")) is None
    assert callbacks.payment_to_query(session, "yookassa", StatusHint("\0")) is None
    assert callbacks.payment_to_query(session, "stripe", StatusHint(str(payment.provider_payment_id))) is None


def test_a_response_with_another_amount_settles_nothing(
    session: Session, payment: Payment, charlie: User, shop: Settings, yookassa_side: YooKassaFarSide
) -> None:
    name = str(payment.provider_payment_id)
    yookassa_side.decide(name)
    yookassa_side.payments[name]["amount"]["value"] = "500.01"
    assert str(settlement.query_provider(session, payment.id, shop)) in REVIEW_RESULTS
    assert settlement.query_provider(session, payment.id, shop) is None
    assert (balance(session, charlie), manual_review.count(session)) == (0, 1)


def test_a_refund_in_yookassas_dashboard_is_booked_once(
    *, session: Session, payment: Payment, charlie: User, shop: Settings, yookassa_side: YooKassaFarSide
) -> None:
    name = str(payment.provider_payment_id)
    yookassa_side.decide(name)
    settlement.query_provider(session, payment.id, shop)
    body = yookassa_side.give_back(name, "120.00")
    assert hears(shop, body) == StatusHint(name)
    assert [settlement.query_provider(session, payment.id, shop) for _ in range(2)] == ["refunded", None]
    assert (balance(session, charlie), payment.returned_rub) == (38, 120)


def test_an_admins_refund_is_made_once_though_the_connection_is_lost(
    *, session: Session, payment: Payment, charlie: User, dana: User, shop: Settings, yookassa_side: YooKassaFarSide
) -> None:
    yookassa_side.decide(str(payment.provider_payment_id))
    settlement.query_provider(session, payment.id, shop)
    facts = {"amount_rub": Decimal(200), "reason": "as agreed", "key": some_id(), "actor": Actor(dana.id)}
    reversal = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
    for failure in (0, 500, 429, 502):
        yookassa_side.failures = [failure]
        with pytest.raises(ProviderDown):
            refunds.send(session, reversal.id, shop)
    assert refunds.send(session, reversal.id, shop) is ReversalState.DONE
    assert len(yookassa_side.refunds) == 1
    assert settlement.query_provider(session, payment.id, shop) == "refund_state"
    assert balance(session, charlie) == 30
    with pytest.raises(ProviderRefused, match="More than is left"):
        providers.get("yookassa", shop).refund(session, payment, Decimal(400), "another")


def test_the_portal_queries_by_a_job_and_refuses_other_addresses(
    *, app: Flask, queued: Jobs, payment: Payment, yookassa_side: YooKassaFarSide
) -> None:
    client = app.test_client()
    body = yookassa_side.decide(str(payment.provider_payment_id))
    asked_before = len(yookassa_side.asked)
    answer = client.post(PATH, data=body, environ_base={"REMOTE_ADDR": THEIRS})
    assert (answer.status_code, answer.json) == (200, {"received": True, "processed": False})
    assert queued == [("jobs.payments.ask", str(payment.id))]
    assert client.post(PATH, data=body, environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code == 400
    # Of another product of the same shop: refused, it would be repeated for a day (yookassa.ru/developers, "Webhooks").
    foreign = notification("payment.succeeded", {"id": "of another product"})
    assert client.post(PATH, data=foreign, environ_base={"REMOTE_ADDR": THEIRS}).status_code == 200
    other = notification("deal.closed", {"id": "dl-1"})
    assert client.post(PATH, data=other, environ_base={"REMOTE_ADDR": THEIRS}).status_code == 200
    assert (len(queued), len(yookassa_side.asked)) == (1, asked_before)


def test_with_redis_down_a_notification_is_stored_and_the_sweep_queries(
    *,
    app: Flask,
    session: Session,
    payment: Payment,
    yookassa_side: YooKassaFarSide,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down(*_job: str) -> None:
        raise QueueDown("connection refused")

    monkeypatch.setattr(context, "enqueue", down)
    body = yookassa_side.decide(str(payment.provider_payment_id))
    answer = app.test_client().post(PATH, data=body, environ_base={"REMOTE_ADDR": THEIRS})
    assert answer.status_code == 200
    assert status_checks.due(session) == [payment.id]


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("insufficient_funds", PaymentFailure.DECLINED),
        ("3d_secure_failed", PaymentFailure.DECLINED),
        ("a reason of next year", PaymentFailure.DECLINED),
        ("expired_on_confirmation", PaymentFailure.ABANDONED),
        ("canceled_by_merchant", PaymentFailure.WITHDRAWN),
    ],
)
def test_the_reason_of_a_cancellation_is_stored(
    *,
    session: Session,
    payment: Payment,
    shop: Settings,
    yookassa_side: YooKassaFarSide,
    reason: str,
    failure: PaymentFailure,
) -> None:
    # yookassa.ru/developers, "Canceled payments": cancellation_details.reason.
    yookassa_side.decide(str(payment.provider_payment_id), "canceled", reason)
    assert settlement.query_provider(session, payment.id, shop) == "canceled"
    assert payment.failure is failure


def test_a_pending_refund_that_is_canceled_credits_the_znc_again(
    *, session: Session, payment: Payment, charlie: User, dana: User, shop: Settings, yookassa_side: YooKassaFarSide
) -> None:
    # yookassa.ru/developers/api, "Refund object": pending, succeeded or canceled.
    yookassa_side.decide(str(payment.provider_payment_id))
    settlement.query_provider(session, payment.id, shop)
    facts = {"amount_rub": Decimal(200), "reason": "as agreed", "key": some_id(), "actor": Actor(dana.id)}
    reversal = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
    yookassa_side.refund_status = "pending"
    assert refunds.send(session, reversal.id, shop) is ReversalState.REQUESTED
    assert settlement.query_provider(session, payment.id, shop) is None
    [made] = yookassa_side.refunds.values()
    assert reversal.provider_key == made["id"]
    # Found by either sweep: that of refunds, or that of payments.
    made["status"] = "canceled"
    yookassa_side.payments[str(payment.provider_payment_id)]["refunded_amount"]["value"] = "0.00"
    assert settlement.query_provider(session, payment.id, shop) == "refund_failed"
    assert refunds.send(session, reversal.id, shop) is ReversalState.REFUSED
    assert (balance(session, charlie), payment.returned_rub) == (50, 0)


def test_an_existing_refund_is_searched_before_another_is_made(
    *, session: Session, payment: Payment, dana: User, shop: Settings, yookassa_side: YooKassaFarSide
) -> None:
    # yookassa.ru/developers, "Idempotence": a key is kept for 24 hours, and then a new request is carried out.
    yookassa_side.decide(str(payment.provider_payment_id))
    settlement.query_provider(session, payment.id, shop)
    facts = {"amount_rub": Decimal(200), "reason": "as agreed", "key": some_id(), "actor": Actor(dana.id)}
    reversal = refunds.request(session, payment.id, **facts)  # type: ignore[arg-type]
    yookassa_side.losses = 1
    with pytest.raises(ProviderDown):
        refunds.send(session, reversal.id, shop)
    yookassa_side.forget_keys()
    assert refunds.send(session, reversal.id, shop) is ReversalState.DONE
    assert list(yookassa_side.refunds) == [reversal.provider_key]
