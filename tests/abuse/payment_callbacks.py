"""Callbacks of payment providers, genuine and forged, and a client that sends them to a running portal."""

import hashlib
import hmac
import http.client
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from models import clock
from models.payments import Payment
from models.services.payments.providers import mock, stripe_checkout
from tests.factories import race

CONNECTION_CLOSED = 0
REFUSED, ACCEPTED = frozenset({400}), frozenset({200})
TOO_LARGE = frozenset({413, CONNECTION_CLOSED})
DAY = 24 * 3600
LARGE = 256 * 1024
Headers = Mapping[str, str]
Callback = tuple[bytes, Headers]


class Signer:
    """A provider that signs time and body by HMAC-SHA256, as the mock provider and Stripe do."""

    provider: str
    header: str

    def __init__(self, key: str) -> None:
        self._key = key

    def sign(self, body: bytes, *, age: int = 0, key: str | None = None) -> Headers:
        """Return the headers of a body signed `age` seconds ago, with the provider's key or another one."""
        stamp = int(clock.now().timestamp()) - age
        signature = hmac.new((key or self._key).encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        return {"Content-Type": "application/json", self.header: f"t={stamp},v1={signature}"}

    def callback(self, payment: Payment, outcome: str, **changes: Any) -> Callback:
        """Return a signed callback about a payment; `changes` replace its id, amount, currency or event id."""
        facts = {"payment_id": payment.provider_payment_id, "amount": payment.amount_rub, "currency": "RUB"}
        body = json.dumps(self.event(outcome, **{**facts, "event_id": str(uuid.uuid4()), **changes})).encode()
        return body, self.sign(body)

    def event(self, outcome: str, *, payment_id: str, amount: Decimal, currency: str, event_id: str) -> dict[str, Any]:
        """Return the body of a callback."""
        raise NotImplementedError

    def new_payment_id(self) -> str:
        """Return an id in the provider's format that belongs to no payment."""
        raise NotImplementedError


class MockSigner(Signer):
    provider, header = "mock", mock.SIGNATURE_HEADER

    def event(self, outcome: str, *, payment_id: str, amount: Decimal, currency: str, event_id: str) -> dict[str, Any]:
        payment = {"id": payment_id, "amount": f"{amount:.2f}", "currency": currency}
        if outcome == "refunded":
            refund = {"id": "refund", "amount": payment["amount"]}
            return {"id": event_id, "event": "refund.succeeded", "payment": payment, "refund": refund}
        return {"id": event_id, "event": f"payment.{outcome}", "payment": payment}

    def new_payment_id(self) -> str:
        return str(uuid.uuid4())


class StripeSigner(Signer):
    provider, header = "stripe", stripe_checkout.SIGNATURE_HEADER

    def event(self, outcome: str, *, payment_id: str, amount: Decimal, currency: str, event_id: str) -> dict[str, Any]:
        is_paid = outcome == "succeeded"
        session = {
            "id": payment_id,
            "object": "checkout.session",
            "status": "complete" if is_paid else "expired",
            "payment_status": "paid" if is_paid else "unpaid",
            "payment_intent": f"pi_{payment_id}" if is_paid else None,
            "amount_total": int(amount * 100),
            "currency": currency.lower(),
        }
        kind = "checkout.session.completed" if is_paid else "checkout.session.expired"
        return {"id": f"evt_{event_id}", "object": "event", "type": kind, "data": {"object": session}}

    def new_payment_id(self) -> str:
        return f"cs_test_{uuid.uuid4().hex}"


@dataclass(frozen=True, slots=True)
class Attack:
    """A forged or malformed callback and the statuses that refuse it.

    One that the provider could have signed itself `needs_review`: it is stored for an admin and credits nothing.
    """

    name: str
    body: bytes
    headers: Headers
    statuses: frozenset[int] = REFUSED
    method: str = "POST"
    chunked: bool = False
    needs_review: bool = False


def attacks(signer: Signer, payment: Payment) -> Iterator[Attack]:
    """Yield every attack on a pending payment."""
    body, headers = signer.callback(payment, "succeeded")
    yield from _bad_signatures(signer, body)
    yield from _wrong_contents(signer, payment)
    yield from _malformed_bodies(signer)
    large = b" " * LARGE + body
    yield Attack("oversize", large, signer.sign(large), TOO_LARGE)
    yield Attack("oversize without Content-Length", large, signer.sign(large), TOO_LARGE | REFUSED, chunked=True)
    yield Attack("GET", body, headers, frozenset({405}), method="GET")


def _bad_signatures(signer: Signer, body: bytes) -> Iterator[Attack]:
    right = signer.sign(body)[signer.header]
    stamp, _, signature = right.removeprefix("t=").partition(",v1=")
    headers = {
        "no signature": None,
        "empty signature": "",
        "time without digits": f"t=now,v1={signature}",
        "truncated signature": right[:-1],
        "signature beyond ASCII": f"t={stamp},v1=\u00e9\u00e9",
        "another time than was signed": f"t={int(stamp) + 1},v1={signature}",
        "time of forty digits": f"t={'9' * 40},v1={signature}",
    }
    for name, value in headers.items():
        yield Attack(name, body, {} if value is None else {signer.header: value})
    yield Attack("another key", body, signer.sign(body, key="a key that an attacker has made up"))
    yield Attack("stale", body, signer.sign(body, age=DAY))
    yield Attack("from the future", body, signer.sign(body, age=-DAY))
    yield Attack("body changed after signing", body + b" ", {signer.header: right})


def _wrong_contents(signer: Signer, payment: Payment) -> Iterator[Attack]:
    changes: dict[str, dict[str, Any]] = {
        "larger amount": {"amount": payment.amount_rub * 100},
        "smaller amount": {"amount": payment.amount_rub / 100},
        "zero amount": {"amount": payment.amount_rub * 0},
        "negative amount": {"amount": -payment.amount_rub},
        "another currency": {"currency": "USD"},
    }
    for name, change in changes.items():
        yield Attack(name, *signer.callback(payment, "succeeded", **change), ACCEPTED, needs_review=True)
    for name, payment_id in {"unknown payment": signer.new_payment_id(), "our id of it": str(payment.id)}.items():
        yield Attack(name, *signer.callback(payment, "succeeded", payment_id=payment_id), ACCEPTED)
    foreign = yookassa_body(payment)
    yield Attack("body of another provider", foreign, signer.sign(foreign))


def _malformed_bodies(signer: Signer) -> Iterator[Attack]:
    bodies = {
        "empty body": b"",
        "truncated JSON": b'{"id": ',
        "list": b"[]",
        "null": b"null",
        "number of a thousand digits": b"9" * 1000,
        "deep nesting": b"[" * 20000,
        "invalid UTF-8": b"\xff\xfe\x00{",
        "every field null": json.dumps(dict.fromkeys(("id", "event", "type", "payment", "data", "object"))).encode(),
    }
    for name, body in bodies.items():
        yield Attack(name, body, signer.sign(body))


def yookassa_body(payment: Payment) -> bytes:
    """Return the notification that YooKassa would send about a paid payment; YooKassa does not sign it."""
    amount = {"value": f"{payment.amount_rub:.2f}", "currency": "RUB"}
    about = {"id": payment.provider_payment_id, "status": "succeeded", "paid": True, "amount": amount}
    return json.dumps({"type": "notification", "event": "payment.succeeded", "object": about}).encode()


@dataclass(frozen=True, slots=True)
class CallbackUrl:
    """The address of a provider's callbacks at a portal on loopback."""

    port: int
    provider: str

    def send(self, body: bytes, headers: Headers, *, method: str = "POST", chunked: bool = False) -> int:
        """Send a callback; returns the status, CONNECTION_CLOSED when the portal closed the connection instead."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        content: Any = body
        if chunked:
            content = iter([body[start : start + 4096] for start in range(0, len(body), 4096)])
            headers = {**headers, "Transfer-Encoding": "chunked"}
        path = f"/api/v1/webhooks/payment/{self.provider}"
        try:
            connection.request(method, path, content, headers, encode_chunked=chunked)
            return connection.getresponse().status
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            return CONNECTION_CLOSED
        finally:
            connection.close()

    def send_at_once(self, callbacks: Sequence[Callback]) -> list[int]:
        """Send all callbacks at the same instant; returns their statuses."""
        return race(*(partial(self.send, *callback) for callback in callbacks))
