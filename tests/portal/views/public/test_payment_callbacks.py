"""The address that payment providers call: what it takes, and what it refuses without a change."""

import json
import uuid
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.payments import MockCheckout, PaymentEvent
from models.services.payments import settlement
from models.services.payments.providers import mock
from models.services.payments.providers.mock import SIGNATURE_HEADER, MockProvider
from models.users import User
from tests.conftest import Clock
from tests.factories import REVIEW_RESULTS, balance, top_up
from tests.portal.conftest import Jobs

PATH = "/api/v1/webhooks/payment"


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def checkout(session: Session, charlie: User, settings: Settings) -> MockCheckout:
    """A checkout at which the customer has paid."""
    payment = top_up(session, charlie, settings)
    found = session.scalars(select(MockCheckout).where(MockCheckout.payment_id == payment.id)).one()
    mock.decide(session, found.id, "succeeded")
    session.refresh(found)
    session.commit()
    return found


def signed(settings: Settings, checkout: MockCheckout, **changes: Any) -> tuple[bytes, dict[str, str]]:
    """Sign a callback of which something is not as it should be."""
    body = mock.callback_body(checkout)
    body["payment"].update(changes.pop("payment", {}))
    body.update(changes)
    raw = json.dumps(body).encode()
    stamp = int(clock.now().timestamp())
    key = settings.payments.mock_signing_key
    assert key is not None
    signature = mock._signature(key.get_secret_value().encode(), stamp, raw)
    return raw, {SIGNATURE_HEADER: f"t={stamp},v1={signature}"}


def stored(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(PaymentEvent)) or 0


@pytest.mark.parametrize("path", [PATH, f"{PATH}/mock"])
def test_38_a_signed_callback_is_stored_once_and_settled_before_it_is_answered(
    *,
    client: FlaskClient,
    checkout: MockCheckout,
    charlie: User,
    session: Session,
    settings: Settings,
    queued: Jobs,
    path: str,
) -> None:
    body, headers = MockProvider(settings).signed_callback(checkout)
    first = client.post(path, data=body, headers=headers)
    assert (first.status_code, first.json) == (200, {"received": True, "processed": True})
    again = client.post(path, data=body, headers=headers)
    assert (again.status_code, again.json) == (200, {"received": True, "processed": False})
    event = session.scalars(select(PaymentEvent)).one()
    # The payer comes back to a page that says whether the ZNC are there: no job comes first.
    assert (queued, event.result, balance(session, charlie)) == ([], "credited", 50)
    assert "Set-Cookie" not in first.headers


def test_38_a_callback_that_cannot_be_settled_at_once_is_stored_and_left_to_a_job(
    *,
    client: FlaskClient,
    checkout: MockCheckout,
    session: Session,
    settings: Settings,
    queued: Jobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def locked(*_arguments: object, **_options: object) -> str:
        raise OperationalError("SELECT", {}, Exception("lock timeout"))

    monkeypatch.setattr(settlement, "settle", locked)
    body, headers = MockProvider(settings).signed_callback(checkout)
    assert client.post(PATH, data=body, headers=headers).status_code == 200
    event = session.scalars(select(PaymentEvent)).one()
    assert queued == [("jobs.payments.settle", str(event.id))]
    assert event.processed_at is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SIGNATURE_HEADER: ""},
        {SIGNATURE_HEADER: "t=1,v1=00"},
        {SIGNATURE_HEADER: "t=x,v1=é"},
        {SIGNATURE_HEADER: "v1=" + "0" * 64},
        {SIGNATURE_HEADER: "t=" + "9" * 40 + ",v1=0"},
    ],
)
def test_a_callback_that_is_not_signed_changes_nothing(
    *,
    client: FlaskClient,
    checkout: MockCheckout,
    charlie: User,
    session: Session,
    settings: Settings,
    queued: Jobs,
    headers: dict[str, str],
) -> None:
    body, _ = MockProvider(settings).signed_callback(checkout)
    answer = client.post(PATH, data=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["detail"]
    assert (stored(session), queued, balance(session, charlie)) == (0, [], 0)


def test_a_stale_callback_changes_nothing(
    client: FlaskClient, checkout: MockCheckout, session: Session, settings: Settings, time: Clock
) -> None:
    body, headers = MockProvider(settings).signed_callback(checkout)
    time.advance(seconds=settings.payments.callback_tolerance_seconds + 1)
    assert client.post(PATH, data=body, headers=headers).status_code == 400
    assert stored(session) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"payment": {"amount": "NaN"}},
        {"payment": {"amount": "0.001"}},
        {"payment": {"id": "x"}},
        {"event": "payment.refunded"},
        {"id": "no id"},
    ],
)
def test_a_callback_signed_with_another_key_changes_nothing(
    client: FlaskClient, checkout: MockCheckout, session: Session, settings: Settings, changes: dict[str, Any]
) -> None:
    body, headers = signed(settings, checkout, **changes)
    assert client.post(PATH, data=body, headers=headers).status_code == 400
    assert stored(session) == 0


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"amount": "5000.00"}, 1),
        ({"currency": "USD"}, 1),
        ({"id": str(uuid.uuid4())}, 0),
    ],
)
def test_a_signed_callback_that_does_not_match_our_payment_is_answered_and_credits_nothing(
    *,
    client: FlaskClient,
    checkout: MockCheckout,
    charlie: User,
    session: Session,
    settings: Settings,
    changes: dict[str, Any],
    kept: int,
) -> None:
    body, headers = signed(settings, checkout, payment=changes)
    assert client.post(PATH, data=body, headers=headers).status_code == 200
    assert stored(session) == kept
    for event in session.scalars(select(PaymentEvent)).all():
        assert settlement.settle(session, event.id) in REVIEW_RESULTS
    assert balance(session, charlie) == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"payment": 1}'])
def test_a_signed_body_that_is_no_callback_is_400(client: FlaskClient, settings: Settings, body: bytes) -> None:
    stamp = int(clock.now().timestamp())
    key = settings.payments.mock_signing_key
    assert key is not None
    signature = mock._signature(key.get_secret_value().encode(), stamp, body)
    answer = client.post(PATH, data=body, headers={SIGNATURE_HEADER: f"t={stamp},v1={signature}"})
    assert answer.status_code == 400


def test_a_provider_that_is_not_switched_on_is_404(client: FlaskClient) -> None:
    answer = client.post(f"{PATH}/stripe", data=b"{}")
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.mimetype == "application/json"


def test_a_large_callback_is_413(client: FlaskClient) -> None:
    answer = client.post(PATH, data=b"x" * 65537)
    assert answer.status_code == 413
    assert answer.json is not None
