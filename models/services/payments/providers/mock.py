"""Mock payment provider: takes no money, but sends signed callbacks and keeps its own checkouts like a real one."""

import hashlib
import hmac
import json
import uuid
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.payments import MockCheckout, Payment, PaymentFailure
from models.services.errors import CallbackRefused, NotFound, ProviderRefused
from models.services.payments.providers.base import Callback, Event, Outcome, Refund

SIGNATURE_HEADER = "X-Mock-Signature"
_OUTCOMES: dict[str, Outcome] = {
    "payment.succeeded": "succeeded",
    "payment.canceled": "canceled",
    "payment.declined": "canceled",
    "refund.succeeded": "refunded",
    "dispute.opened": "disputed",
    "dispute.won": "dispute_won",
}
_FAILURES = {"payment.canceled": PaymentFailure.WITHDRAWN, "payment.declined": PaymentFailure.DECLINED}


class MockProvider:
    """The mock provider's interface."""

    name = "mock"
    checkout_origins: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def create(self, session: Session, payment: Payment) -> str:
        checkout = MockCheckout(id=uuid.uuid4(), payment_id=payment.id, amount_rub=payment.amount_rub)
        session.add(checkout)
        payment.provider_payment_id = str(checkout.id)
        session.flush()
        return f"{self._settings.portal.address}/mock-checkout/{checkout.id}"

    def verify(self, callback: Callback) -> Event:
        body = callback.body
        stamp, signature = _read_signature(callback.headers.get(SIGNATURE_HEADER, ""))
        expected = _signature(self._key(), stamp, body)
        if not hmac.compare_digest(expected, signature):
            raise CallbackRefused("signature_invalid")
        if abs(callback.received_at.timestamp() - stamp) > self._settings.payments.callback_tolerance_seconds:
            raise CallbackRefused("stale")
        try:
            return _event(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation, RecursionError):
            raise CallbackRefused("malformed") from None

    def cancel(self, session: Session, payment: Payment) -> None:
        """Leave the checkout open: no money is paid."""

    def fetch(self, session: Session, payment: Payment) -> list[Event]:
        checkout = session.scalars(select(MockCheckout).where(MockCheckout.payment_id == payment.id)).one_or_none()
        if checkout is None or checkout.outcome is None:
            return []
        return [_event(callback_body(checkout))]

    def refund(self, session: Session, payment: Payment, amount_rub: Decimal, key: str) -> Refund:
        """Return a refund without moving money; the same key is the same refund."""
        checkout = session.scalars(select(MockCheckout).where(MockCheckout.payment_id == payment.id)).one_or_none()
        if checkout is None or checkout.outcome != "succeeded" or amount_rub > checkout.amount_rub:
            raise ProviderRefused("The mock provider has not received that much.")
        return Refund(f"refund-{key}", is_done=True)

    def signed_callback(self, checkout: MockCheckout) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of the callback that reports the customer's decision."""
        return self.signed(callback_body(checkout))

    def signed(self, content: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of a callback, signed as the provider signs them."""
        body = json.dumps(content).encode()
        stamp = int(clock.now().timestamp())
        signature = _signature(self._key(), stamp, body)
        return body, {"Content-Type": "application/json", SIGNATURE_HEADER: f"t={stamp},v1={signature}"}

    def _key(self) -> bytes:
        key = self._settings.payments.mock_signing_key
        if key is None:
            raise CallbackRefused("signature_invalid")
        return key.get_secret_value().encode()


def checkout_of(session: Session, checkout_id: uuid.UUID) -> MockCheckout:
    """Return a checkout of the mock provider, or raise NotFound."""
    checkout = session.get(MockCheckout, checkout_id)
    if checkout is None:
        raise NotFound("checkout")
    return checkout


def decide(session: Session, checkout_id: uuid.UUID, outcome: Outcome | Literal["declined"]) -> bool:
    """Record the customer's decision; only the first one counts. Return whether this was the first."""
    decided = session.execute(
        update(MockCheckout)
        .where(MockCheckout.id == checkout_id, MockCheckout.outcome.is_(None))
        .values(outcome=outcome, decided_at=clock.now())
        .returning(MockCheckout.id)
    )
    return decided.one_or_none() is not None


def callback_body(checkout: MockCheckout) -> dict[str, Any]:
    """Return the mock provider's report on a decided checkout; the same decision has the same event id."""
    return {
        "id": str(checkout.event_id),
        "event": f"payment.{checkout.outcome}",
        "payment": {"id": str(checkout.id), "amount": f"{checkout.amount_rub:.2f}", "currency": "RUB"},
    }


def _event(body: dict[str, Any]) -> Event:
    payment, refund = body["payment"], body.get("refund") or {}
    amount = Decimal(refund["amount"] if refund else payment["amount"])
    if not amount.is_finite():
        raise ValueError("the amount is not a number")
    return Event(
        event_id=str(uuid.UUID(body["id"])),
        provider_payment_id=str(uuid.UUID(payment["id"])),
        outcome=_OUTCOMES[body["event"]],
        amount_rub=amount,
        currency=str(payment["currency"]),
        body=body,
        failure=_FAILURES.get(body["event"]),
        refund_id=str(refund["id"])[:120] if refund else None,
        refund_key=str(refund["key"])[:120] if refund.get("key") else None,
    )


def _signature(key: bytes, stamp: int, body: bytes) -> str:
    return hmac.new(key, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def _read_signature(header: str) -> tuple[int, str]:
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    stamp, signature = parts.get("t", ""), parts.get("v1", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 and signature.isascii()):
        raise CallbackRefused("unsigned")
    return int(stamp), signature
