"""A fake of the parts of YooKassa that the platform uses: payments, refunds, unsigned notifications."""

import json
import uuid
from typing import Any

from tests.providers.fake_server import Answer, FakeServer


class YooKassaFarSide(FakeServer):
    IDEMPOTENCY_HEADER = "Idempotence-Key"

    def __init__(self) -> None:
        super().__init__()
        self.payments: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.refund_status = "succeeded"

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        sent = json.loads(body) if body else {}
        match (method, path.split("/")[2:]):
            case ("POST", ["payments"]):
                return 200, self._open(sent)
            case ("GET", ["payments", name]) if name in self.payments:
                return 200, self.payments[name]
            case ("POST", ["refunds"]):
                return self._refund(sent)
            case ("GET", ["refunds"]):
                items = [row for row in self.refunds.values() if row["payment_id"] == query["payment_id"]]
                return 200, {"type": "list", "items": items}
        return 404, {"type": "error", "code": "not_found", "description": "There is no such thing."}

    def decide(self, name: str, status: str = "succeeded", reason: str = "") -> bytes:
        """Pay, cancel or decline with a reason; returns the notification's body."""
        self.payments[name].update(status=status, paid=status == "succeeded")
        if reason:
            self.payments[name]["cancellation_details"] = {"party": "payment_network", "reason": reason}
        return notification(f"payment.{status}", self.payments[name])

    def give_back(self, name: str, rubles: str) -> bytes:
        """Refund in YooKassa's dashboard; returns the notification's body."""
        _, refund = self._refund({"payment_id": name, "amount": {"value": rubles, "currency": "RUB"}})
        return notification("refund.succeeded", refund)

    def _open(self, sent: dict[str, Any]) -> dict[str, Any]:
        name = str(uuid.uuid4())
        address = f"{self.address}/checkout/{name}"
        self.payments[name] = {
            "id": name,
            "status": "pending",
            "paid": False,
            "amount": sent["amount"],
            "refunded_amount": {"value": "0.00", "currency": "RUB"},
            "confirmation": {**sent["confirmation"], "confirmation_url": address},
            "metadata": sent["metadata"],
        }
        return self.payments[name]

    def _refund(self, sent: dict[str, Any]) -> Answer:
        paid = self.payments[sent["payment_id"]]
        given = float(paid["refunded_amount"]["value"]) + float(sent["amount"]["value"])
        if paid["status"] != "succeeded" or given > float(paid["amount"]["value"]):
            return 400, {"type": "error", "code": "invalid_request", "description": "More than is left."}
        paid["refunded_amount"]["value"] = f"{given:.2f}"
        name = str(uuid.uuid4())
        self.refunds[name] = {"id": name, "status": self.refund_status, **sent}
        return 200, self.refunds[name]


def notification(event: str, about: dict[str, Any]) -> bytes:
    """Return the body of a notification."""
    return json.dumps({"type": "notification", "event": event, "object": about}).encode()
