"""The mock provider's callbacks are believed only when signed by it, lately, and in its own words."""

import hashlib
import hmac
import json
import uuid
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.services.errors import CallbackRefused, NotFound
from models.services.payments.providers import mock
from models.services.payments.providers.base import Callback
from models.services.payments.providers.mock import SIGNATURE_HEADER, MockProvider
from models.users import User
from tests.conftest import SECRETS, Clock, some_id
from tests.factories import decided, top_up

BODY: dict[str, Any] = {
    "id": "11111111-1111-1111-1111-111111111111",
    "event": "payment.succeeded",
    "payment": {"id": "22222222-2222-2222-2222-222222222222", "amount": "500.00", "currency": "RUB"},
}
KEY = SECRETS["ZENZEFI_PAYMENTS__MOCK_SIGNING_KEY"]


def signed(body: bytes, *, key: str = KEY, age: int = 0, stamp: str = "") -> dict[str, str]:
    """Return the headers with which the fake server signs a body."""
    stamp = stamp or str(int(clock.now().timestamp()) - age)
    signature = hmac.new(key.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {SIGNATURE_HEADER: f"t={stamp},v1={signature}"}


def verify(settings: Settings, headers: dict[str, str], body: bytes) -> Any:
    """Read a callback as the portal does."""
    return MockProvider(settings).verify(Callback(headers, body, clock.now()))


def test_a_signed_callback_is_read(settings: Settings) -> None:
    body = json.dumps(BODY).encode()
    event = verify(settings, signed(body), body)
    assert (event.event_id, event.outcome, event.amount_rub, event.currency) == (BODY["id"], "succeeded", 500, "RUB")
    assert event.provider_payment_id == BODY["payment"]["id"]
    assert event.body == BODY


def test_the_mock_providers_signature_passes_our_verification(
    session: Session, alice: User, settings: Settings
) -> None:
    payment = top_up(session, alice, settings)
    fetched = decided(session, payment, settings)
    checkout = mock.checkout_of(session, uuid.UUID(fetched.provider_payment_id))
    body, headers = MockProvider(settings).signed_callback(checkout)
    assert verify(settings, headers, body) == fetched


@pytest.mark.parametrize(
    "header",
    [
        *("", "t=1", "v1=abc", "t=,v1=", "garbage", "t=abc,v1=abc", "t=-1,v1=abc", "t=1e9,v1=abc", ",,,", "="),
        *("t=²,v1=abc", "t=1,v1=é", "t=" + "9" * 400 + ",v1=abc", "t=1=2,v1==", "t=\u0661,v1=abc"),
    ],
)
def test_an_unsigned_callback_is_refused(settings: Settings, header: str) -> None:
    body = json.dumps(BODY).encode()
    for headers in ({SIGNATURE_HEADER: header}, {}):
        with pytest.raises(CallbackRefused):
            verify(settings, headers, body)


def test_a_wrong_signature_is_refused(settings: Settings) -> None:
    body = json.dumps(BODY).encode()
    for headers, sent in (
        (signed(body, key="somebody else's signing key"), body),
        (signed(body), body.replace(b"500.00", b"900.00")),
        (signed(body), body + b" "),
        ({SIGNATURE_HEADER: signed(body)[SIGNATURE_HEADER].replace("t=1", "t=2")}, body),
        ({SIGNATURE_HEADER: signed(body)[SIGNATURE_HEADER].upper()}, body),
    ):
        with pytest.raises(CallbackRefused):
            verify(settings, headers, sent)


@pytest.mark.parametrize(("age", "accepted"), [(0, True), (300, True), (301, False), (-300, True), (-301, False)])
def test_a_callback_is_accepted_for_five_minutes(settings: Settings, time: Clock, age: int, accepted: bool) -> None:
    body = json.dumps(BODY).encode()
    headers = signed(body, age=age)
    if accepted:
        assert verify(settings, headers, body).outcome == "succeeded"
    else:
        with pytest.raises(CallbackRefused, match="callback_stale"):
            verify(settings, headers, body)


def changed(**changes: Any) -> bytes:
    """The callback with some of its words changed; those of the payment have a prefix."""
    payment = {name.removeprefix("payment_"): value for name, value in changes.items() if name.startswith("payment_")}
    outer = {name: value for name, value in changes.items() if not name.startswith("payment_")}
    return json.dumps({**BODY, "payment": {**BODY["payment"], **payment}, **outer}).encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"5", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"payment": null}']
    + [changed(id=5), changed(id=None), changed(id="x"), changed(id=[1]), changed(payment=[1]), changed(payment="x")]
    + [changed(event="payment.refunded"), changed(event=None), changed(event=["payment.succeeded"])]
    + [changed(payment_amount=amount) for amount in ("NaN", "Infinity", "1,5", "", None, {}, [], "x", "sNaN")]
    + [changed(payment_id=5), changed(payment_id=None)],
    ids=lambda body: body[:60].decode("latin-1"),
)  # fmt: skip
def test_a_signed_body_that_is_not_a_callback_is_refused(settings: Settings, body: bytes) -> None:
    with pytest.raises(CallbackRefused):
        verify(settings, signed(body), body)


def test_without_a_key_every_callback_is_refused(settings: Settings) -> None:
    body = json.dumps(BODY).encode()
    keyless = settings.model_copy(update={"payments": settings.payments.model_copy(update={"mock_signing_key": None})})
    with pytest.raises(CallbackRefused):
        verify(keyless, signed(body, key=""), body)
    other = settings.payments.model_copy(update={"mock_signing_key": SecretStr("quite another signing key")})
    with pytest.raises(CallbackRefused):
        verify(settings.model_copy(update={"payments": other}), signed(body), body)


def test_only_the_first_decision_of_the_customer_counts(session: Session, alice: User, settings: Settings) -> None:
    payment = top_up(session, alice, settings)
    assert MockProvider(settings).fetch(session, payment) == []
    first = decided(session, payment, settings, "canceled")
    assert decided(session, payment, settings, "succeeded") == first
    assert first.outcome == "canceled"


def test_an_unknown_checkout_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        mock.checkout_of(session, some_id())
    assert not mock.decide(session, some_id(), "succeeded")
