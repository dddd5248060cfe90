"""The wallet through the API."""

import uuid
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.payments import Payment, PaymentStatus
from models.services.payments.providers import mock
from models.users import User
from portal import create_app
from tests.factories import balance, buy, top_up
from tests.portal.api.conftest import Program, told


def test_the_balance_is_a_string_with_two_places(alices: Program) -> None:
    assert told(alices.get("/currency/balance"), 200) == {"balance": "100.00", "currency": "ZNC"}


def test_transactions_are_signed_paged_and_filtered(
    alices: Program, session: Session, alice: User, settings: Settings
) -> None:
    for _ in range(3):
        buy(session, alice, settings, hours=1)
    session.commit()
    page = told(alices.get("/currency/transactions", limit=2), 200)
    assert (page["total"], page["limit"], page["offset"], len(page["items"])) == (4, 2, 0, 2)
    assert page["items"][0]["amount"] == "-1.00"
    assert page["items"][0]["transaction_type"] == "purchase"
    assert set(page["items"][0]) == {
        "id",
        "amount",
        "transaction_type",
        "description",
        "payment_id",
        "created_at",
    }
    found = told(alices.get("/currency/transactions", transaction_type="adjustment"), 200)
    assert [each["amount"] for each in found["items"]] == ["100.00"]
    assert told(alices.get("/currency/transactions"), 200)["limit"] == 10


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"offset": -1}, {"offset": 10**9}, {"transaction_type": "PURCHASE"}],
)
def test_a_window_out_of_bounds_is_422(alices: Program, query: dict[str, Any]) -> None:
    [fault] = told(alices.get("/currency/transactions", **query), 422)["detail"]
    assert fault["loc"] == ["query", *query]


def test_a_top_up_starts_a_payment(alices: Program, session: Session, alice: User, settings: Settings) -> None:
    started = told(alices.post("/currency/purchase", {"amount_znc": "50.00", "return_url": "/wallet"}), 201)
    assert (started["amount_znc"], started["amount_rub"], started["status"]) == ("50.00", "500.00", "pending")
    payment = session.get_one(Payment, uuid.UUID(started["payment_id"]))
    assert payment.return_url == f"{settings.portal.address}/wallet"
    assert started["payment_url"] == f"{settings.portal.address}/mock-checkout/{payment.provider_payment_id}"
    assert balance(session, alice) == 100
    answer = alices.get("/webhooks/mock-payment", payment_id=started["payment_id"])
    assert (answer.status_code, answer.location) == (303, f"/mock-checkout/{payment.provider_payment_id}")


@pytest.mark.parametrize(
    "amount",
    [
        0,
        "0.00",
        -5,
        "-5",
        "NaN",
        "Infinity",
        1e30,
        "1e30",
        "0.001",
        0.001,
        "1,5",
        "12_0",
        "",
        None,
        [],
        True,
        "100000.01",
    ],
)
def test_an_invalid_amount_is_422(alices: Program, amount: object) -> None:
    for path, field in (("/currency/purchase", "amount_znc"), ("/currency/mock-purchase", "amount")):
        [fault, *_more] = told(alices.post(path, {field: amount, "return_url": "/"}), 422)["detail"]
        assert fault["loc"][:2] == ["body", field]


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "http://127.0.0.1:8000.evil.example/",
        "x",
    ],
)
def test_a_return_url_must_be_at_a_listed_origin(alices: Program, place: str) -> None:
    [fault] = told(alices.post("/currency/purchase", {"amount_znc": 5, "return_url": place}), 422)["detail"]
    assert fault["loc"] == ["body", "return_url"]


def test_a_return_url_may_be_at_a_listed_origin(
    alices: Program, app: Flask, settings: Settings, session: Session
) -> None:
    payments = settings.payments.model_copy(update={"return_origins": ("https://own.example",)})
    other = create_app(settings.model_copy(update={"payments": payments}))
    caller = Program(other.test_client(), **alices.headers)
    place = "https://own.example/thanks?x=1"
    told(caller.post("/currency/purchase", {"amount_znc": 5, "return_url": place}), 201)


def test_a_mock_purchase_credits_at_once_through_the_usual_states(
    alices: Program, session: Session, alice: User
) -> None:
    settled = told(alices.post("/currency/mock-purchase", {"amount": "12.50"}), 201)
    assert (settled["amount"], settled["new_balance"], settled["status"]) == ("12.50", "112.50", "succeeded")
    [entry] = told(alices.get("/currency/transactions", transaction_type="deposit"), 200)["items"]
    assert (entry["payment_id"], entry["amount"]) == (settled["payment_id"], "12.50")


def test_without_the_mock_provider_there_are_no_mock_payments(app: Flask, settings: Settings, alices: Program) -> None:
    payments = settings.payments.model_copy(update={"providers": ()})
    caller = Program(create_app(settings.model_copy(update={"payments": payments})).test_client(), **alices.headers)
    told(caller.post("/currency/mock-purchase", {"amount": 5}), 404)
    told(caller.post(f"/currency/admin/simulate-payment/{uuid.uuid4()}"), 404)
    told(caller.get("/webhooks/mock-payment", payment_id=str(uuid.uuid4())), 404)


def test_an_admin_lets_a_mock_payment_succeed_once(
    danas: Program, alices: Program, session: Session, alice: User, settings: Settings
) -> None:
    payment = top_up(session, alice, settings)
    session.commit()
    path = f"/currency/admin/simulate-payment/{payment.id}"
    told(alices.post(path), 403)
    for _ in range(2):
        settled = told(danas.post(path), 200)
        assert (settled["status"], settled["new_balance"]) == ("succeeded", "150.00")
    told(danas.post(f"/currency/admin/simulate-payment/{uuid.uuid4()}"), 404)


def test_a_payment_declined_by_its_customer_does_not_succeed(
    danas: Program, session: Session, alice: User, settings: Settings
) -> None:
    payment = top_up(session, alice, settings)
    mock.decide(session, uuid.UUID(payment.provider_payment_id), "canceled")
    session.commit()
    told(danas.post(f"/currency/admin/simulate-payment/{payment.id}"), 409)
    session.refresh(payment)
    assert payment.status is PaymentStatus.PENDING
    assert balance(session, alice) == 100


def test_a_real_providers_payment_cannot_be_simulated(
    danas: Program, session: Session, alice: User, settings: Settings
) -> None:
    payment = top_up(session, alice, settings)
    payment.provider = "stripe"
    session.commit()
    told(danas.post(f"/currency/admin/simulate-payment/{payment.id}"), 404)
