"""A fake of the parts of Stripe that the platform uses: checkout sessions, refunds, disputes, signed events."""

import itertools
import json
import time
from typing import Any
from urllib.parse import parse_qsl

import stripe

from tests.providers.fake_server import Answer, FakeServer

WEBHOOK_SECRET = "whsec_a_secret_that_only_tests_use"


class StripeFarSide(FakeServer):
    IDEMPOTENCY_HEADER = "Idempotency-Key"

    def __init__(self) -> None:
        super().__init__()
        self.sessions: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.disputes: dict[str, dict[str, Any]] = {}
        self.refusal: dict[str, str] = {}
        self.refund_status = "succeeded"
        self._number = itertools.count(1)

    def answer(  # noqa: PLR0911 - one for each address
        self, method: str, path: str, query: dict[str, str], body: bytes
    ) -> Answer:
        form = dict(parse_qsl(body.decode()))
        match (method, path.split("/")[2:]):
            case ("POST", ["checkout", "sessions"]) if self.refusal:
                return 400, {"error": {"type": "invalid_request_error", **self.refusal}}
            case ("POST", ["checkout", "sessions"]):
                return 200, self._open(form)
            case ("GET", ["checkout", "sessions", name]) if name in self.sessions:
                return 200, self.sessions[name]
            case ("POST", ["checkout", "sessions", name, "expire"]) if name in self.sessions:
                # docs.stripe.com/api/checkout/sessions/expire: only an open session can be expired.
                if self.sessions[name]["status"] != "open":
                    return 400, {"error": {"type": "invalid_request_error", "message": "It is not open."}}
                self.sessions[name].update(status="expired")
                return 200, self.sessions[name]
            case ("POST", ["refunds"]):
                return self._refund(form)
            case ("GET", ["refunds"]):
                wanted = [row for row in self.refunds.values() if row["payment_intent"] == query["payment_intent"]]
                return 200, {"object": "list", "data": wanted, "has_more": False, "url": "/v1/refunds"}
            case ("GET", ["disputes"]):
                wanted = [row for row in self.disputes.values() if row["payment_intent"] == query["payment_intent"]]
                return 200, {"object": "list", "data": wanted, "has_more": False, "url": "/v1/disputes"}
        return 404, {"error": {"type": "invalid_request_error", "message": "No such thing."}}

    def pay(self, session_id: str) -> dict[str, Any]:
        """Pay the session; returns the event."""
        intent = f"pi_{session_id}"
        self.sessions[session_id].update(status="complete", payment_status="paid", payment_intent=intent)
        return self.event("checkout.session.completed", self.sessions[session_id])

    def expire(self, session_id: str) -> dict[str, Any]:
        """Expire the session unpaid; returns the event."""
        self.sessions[session_id].update(status="expired")
        return self.event("checkout.session.expired", self.sessions[session_id])

    def give_back(self, session_id: str, kopecks: int) -> dict[str, Any]:
        """Refund in Stripe's dashboard; returns the event."""
        _, refund = self._refund({"payment_intent": f"pi_{session_id}", "amount": str(kopecks)})
        return self.event("refund.created", refund)

    def dispute(self, session_id: str, kopecks: int, kind: str = "funds_withdrawn") -> dict[str, Any]:
        """Open or win a dispute; returns the event."""
        about = {"id": f"du_{session_id}", "object": "dispute", "amount": kopecks, "currency": "rub"}
        known = self.disputes.setdefault(about["id"], {**about, "payment_intent": f"pi_{session_id}"})
        moved = {"funds_withdrawn": [-kopecks], "funds_reinstated": [kopecks]}.get(kind, [])
        known["balance_transactions"] = [*known.get("balance_transactions", []), *({"amount": each} for each in moved)]
        return self.event(f"charge.dispute.{kind}", {**known, **about, "status": "lost"})

    def event(self, kind: str, about: dict[str, Any]) -> dict[str, Any]:
        return {"id": f"evt_{next(self._number)}", "object": "event", "type": kind, "data": {"object": dict(about)}}

    def _open(self, form: dict[str, str]) -> dict[str, Any]:
        name = f"cs_test_{next(self._number)}"
        self.sessions[name] = {
            "id": name,
            "object": "checkout.session",
            "url": f"{self.address}/pay/{name}#{'x' * 600}",
            "status": "open",
            "payment_status": "unpaid",
            "payment_intent": None,
            "amount_total": int(form["line_items[0][price_data][unit_amount]"]),
            "currency": form["line_items[0][price_data][currency]"],
            "expires_at": int(form["expires_at"]),
            "metadata": {"payment_id": form["metadata[payment_id]"]},
            # Without the parameter the account's dashboard decides, in which it is on.
            "adaptive_pricing": {"enabled": form.get("adaptive_pricing[enabled]", "true") == "true"},
        }
        return self.sessions[name]

    def _refund(self, form: dict[str, str]) -> Answer:
        paid = next((row for row in self.sessions.values() if row["payment_intent"] == form["payment_intent"]), None)
        given = sum(row["amount"] for row in self.refunds.values() if row["payment_intent"] == form["payment_intent"])
        if paid is None or given + int(form["amount"]) > paid["amount_total"]:
            return 400, {"error": {"type": "invalid_request_error", "message": "Greater than what is left."}}
        name = f"re_{next(self._number)}"
        self.refunds[name] = {
            "id": name,
            "object": "refund",
            "amount": int(form["amount"]),
            "currency": "rub",
            "payment_intent": form["payment_intent"],
            "status": self.refund_status,
            "metadata": {"refund_key": form["metadata[refund_key]"]} if "metadata[refund_key]" in form else {},
        }
        return 200, self.refunds[name]


def signed(event: dict[str, Any], *, secret: str = WEBHOOK_SECRET, age: int = 0) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a callback, signed by Stripe's library."""
    body = json.dumps(event)
    header = stripe.WebhookSignature.generate_signature_header(body, secret, timestamp=int(time.time()) - age)
    return body.encode(), {"Stripe-Signature": header}
