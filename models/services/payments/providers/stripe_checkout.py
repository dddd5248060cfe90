"""Stripe Checkout: signed callbacks, idempotency keys on every request (docs.stripe.com, "Checkout Sessions API").

The session is the payment's id at Stripe; refunds and disputes contain its payment intent instead, which is known once
the session is paid. Amounts are sent and read in kopecks.
"""

from decimal import Decimal
from typing import Any

import requests
import stripe
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.payments import Payment, PaymentFailure
from models.services.errors import CallbackRefused, ProviderDown, ProviderRefused
from models.services.payments.providers.base import Callback, Event, Outcome, Refund

SIGNATURE_HEADER = "Stripe-Signature"
TIMEOUT_SECONDS = 10
# Stripe's limits for the lifetime of a session.
SHORTEST_MINUTES, LONGEST_MINUTES = 31, 24 * 60 - 1
_TEMPORARY = (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError)
_SESSION_EVENTS = {
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
}
# An inquiry moves no money, so only these two events book a dispute; the created/closed pair is redundant.
_DISPUTE_EVENTS: dict[str, Outcome] = {
    "charge.dispute.funds_withdrawn": "disputed",
    "charge.dispute.funds_reinstated": "dispute_won",
}


class StripeCheckout:
    """Stripe Checkout as a payment provider."""

    name = "stripe"
    checkout_origins: tuple[str, ...] = ("https://checkout.stripe.com",)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        rules = settings.payments
        if rules.stripe_secret_key is None or rules.stripe_webhook_secret is None:
            raise ProviderRefused("Stripe is not set up.")
        self._webhook_secret = rules.stripe_webhook_secret.get_secret_value()
        http = requests.Session()
        http.trust_env = False
        self._client = stripe.StripeClient(
            rules.stripe_secret_key.get_secret_value(),
            base_addresses={"api": rules.stripe_api},
            http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS, session=http),
            max_network_retries=1,
        )

    def create(self, session: Session, payment: Payment) -> str:  # noqa: ARG002 - the interface's
        minutes = min(max(self._settings.payments.pending_minutes, SHORTEST_MINUTES), LONGEST_MINUTES)
        ours = {"payment_id": str(payment.id)}
        product = {"name": f"{payment.amount_znc:.2f} ZNC"}
        price = {"currency": "rub", "unit_amount": _kopecks(payment.amount_rub), "product_data": product}
        made = self._ask(
            self._client.v1.checkout.sessions.create,
            {
                "mode": "payment",
                # The payer pays the booked amount in RUB, whatever the settings of the account's dashboard.
                "adaptive_pricing": {"enabled": False},
                "line_items": [{"quantity": 1, "price_data": price}],
                "client_reference_id": str(payment.id),
                "metadata": ours,
                "payment_intent_data": {"metadata": ours},
                "success_url": payment.return_url,
                "cancel_url": payment.return_url,
                "expires_at": int(payment.created_at.timestamp()) + minutes * 60,
            },
            key=f"payment:{payment.id}",
        )
        payment.provider_payment_id = str(made["id"])
        return str(made["url"])

    def verify(self, callback: Callback) -> Event | None:
        tolerance = self._settings.payments.callback_tolerance_seconds
        header = callback.headers.get(SIGNATURE_HEADER, "")
        try:
            made = stripe.Webhook.construct_event(callback.body, header, self._webhook_secret, tolerance)
            if _signed_at(header) > callback.received_at.timestamp() + tolerance:
                # The library accepts any future time, and a callback signed with one would stay valid until then.
                raise CallbackRefused("stale")
            return _read(made.to_dict())
        except stripe.SignatureVerificationError:
            raise CallbackRefused("signature_invalid") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise CallbackRefused("malformed") from None

    def cancel(self, session: Session, payment: Payment) -> None:  # noqa: ARG002 - the interface's
        self._ask(self._client.v1.checkout.sessions.expire, str(payment.provider_payment_id))

    def fetch(self, session: Session, payment: Payment) -> list[Event]:  # noqa: ARG002 - the interface's
        found = self._ask(self._client.v1.checkout.sessions.retrieve, str(payment.provider_payment_id))
        event = _of_session(f"fetched:{found['id']}:{found['status']}:{found['payment_status']}", found)
        if event is None or event.outcome == "canceled":
            return [event] if event else []
        refunds = self._refunds(str(event.charge_id))
        disputes = self._ask(self._client.v1.disputes.list, {"payment_intent": event.charge_id, "limit": 100})["data"]
        reported = [
            *(_of_refund(f"fetched:{refund['id']}:{refund['status']}", refund) for refund in refunds),
            *(_of_standing_dispute(dispute) for dispute in disputes),
        ]
        return [event, *(each for each in reported if each is not None)]

    def refund(self, session: Session, payment: Payment, amount_rub: Decimal, key: str) -> Refund:  # noqa: ARG002
        if payment.provider_charge_id is None:
            raise ProviderRefused("Stripe has not reported the payment intent.")
        # Keys are forgotten after a day, and a new refund would be made (docs.stripe.com/api/idempotent_requests).
        listed = self._refunds(payment.provider_charge_id)
        made = next((refund for refund in listed if (refund.get("metadata") or {}).get("refund_key") == key), None)
        if made is None:
            asked = {
                "payment_intent": payment.provider_charge_id,
                "amount": _kopecks(amount_rub),
                "metadata": {"refund_key": key},
            }
            made = self._ask(self._client.v1.refunds.create, asked, key=f"refund:{key}")
        if made["status"] in {"failed", "canceled"}:
            raise ProviderRefused(f"Stripe says: {made.get('failure_reason') or made['status']}")
        return Refund(str(made["id"]), is_done=made["status"] == "succeeded")

    def _refunds(self, intent: str) -> list[dict[str, Any]]:
        found = self._ask(self._client.v1.refunds.list, {"payment_intent": intent, "limit": 100})
        return list(found["data"])

    @staticmethod
    def _ask(call: Any, *arguments: Any, key: str | None = None) -> dict[str, Any]:
        """Call Stripe, and translate its errors. Raises ProviderRefused and ProviderDown."""
        options = {"options": {"idempotency_key": key}} if key else {}
        try:
            answer: dict[str, Any] = call(*arguments, **options).to_dict()
        except _TEMPORARY:
            raise ProviderDown from None
        except stripe.StripeError as error:
            message = f"Stripe says: {error.user_message or type(error).__name__}"
            raise ProviderRefused(message, reason=_kind(error)) from None
        return answer


def _kind(error: stripe.StripeError) -> str:
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return "setup"
    return "amount" if error.code in {"amount_too_small", "amount_too_large"} else "other"


def _signed_at(header: str) -> int:
    """Return the time in a header that the library has verified: like the library, the first one."""
    times = [value for key, _, value in (part.partition("=") for part in header.split(",")) if key == "t"]
    return int(times[0])


def _read(body: dict[str, Any]) -> Event | None:
    """Parse an event; a relevant one in an unknown format becomes "unreadable", for review by an admin."""
    event_id, kind, about = str(body["id"]), str(body["type"]), body["data"]["object"]
    try:
        return _reported(event_id, kind, about)
    except (ValueError, KeyError, TypeError):
        payment_id = about["id"] if kind in _SESSION_EVENTS else about.get("payment_intent")
        return Event(event_id, str(payment_id), "unreadable", Decimal(0), "RUB", {"id": event_id, kind: about})


def _reported(event_id: str, kind: str, about: dict[str, Any]) -> Event | None:
    if kind in _SESSION_EVENTS:
        return _of_session(event_id, about, failed=kind == "checkout.session.async_payment_failed")
    if kind in {"refund.created", "refund.updated", "refund.failed"}:
        return _of_refund(event_id, about)
    if kind in _DISPUTE_EVENTS:
        return _of_dispute(event_id, about, _DISPUTE_EVENTS[kind])
    return None


def _of_dispute(event_id: str, about: dict[str, Any], outcome: Outcome) -> Event:
    """Return the event of a dispute; its amount may differ from the charge's (API, "Dispute object")."""
    return Event(
        event_id=event_id,
        provider_payment_id=str(about["payment_intent"]),
        outcome=outcome,
        amount_rub=Decimal(int(about["amount"])) / 100,
        currency=str(about["currency"]).upper(),
        body={"id": event_id, "dispute": about},
        refund_id=str(about["id"]),
    )


def _of_session(event_id: str, about: dict[str, Any], *, failed: bool = False) -> Event | None:
    """Return the event of a session; None while the customer may still pay or the bank has not decided."""
    paid = about["payment_status"] == "paid"
    if not (paid or failed or about["status"] == "expired"):
        return None
    return Event(
        event_id=event_id,
        provider_payment_id=str(about["id"]),
        outcome="succeeded" if paid else "canceled",
        failure=None if paid else PaymentFailure.DECLINED if failed else PaymentFailure.ABANDONED,
        amount_rub=Decimal(int(about["amount_total"])) / 100,
        currency=str(about["currency"]).upper(),
        body={"id": event_id, "session": about},
        charge_id=str(about["payment_intent"]) if paid else None,
    )


def _of_standing_dispute(about: dict[str, Any]) -> Event | None:
    """Return the event of a dispute by the money that it moved; None for an inquiry (API, "Dispute object")."""
    moved = [int(transaction["amount"]) for transaction in about.get("balance_transactions") or ()]
    outcome: Outcome = "disputed" if sum(moved) < 0 else "dispute_won"
    return _of_dispute(f"fetched:{about['id']}:{len(moved)}", about, outcome) if moved else None


def _of_refund(event_id: str, about: dict[str, Any]) -> Event | None:
    # A bank may return a refund after weeks, when the card has been closed.
    outcomes: dict[str, Outcome] = {"succeeded": "refunded", "failed": "refund_failed", "canceled": "refund_failed"}
    outcome = outcomes.get(about["status"])
    if outcome is None:
        return None
    return Event(
        event_id=event_id,
        provider_payment_id=str(about["payment_intent"]),
        outcome=outcome,
        amount_rub=Decimal(int(about["amount"])) / 100,
        currency=str(about["currency"]).upper(),
        body={"id": event_id, "refund": about},
        refund_id=str(about["id"]),
        refund_key=(about.get("metadata") or {}).get("refund_key"),
    )


def _kopecks(rubles: Decimal) -> int:
    return int(rubles * 100)
