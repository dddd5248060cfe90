"""Callbacks as a provider's far side, or somebody who pretends to be it, would send them."""

import contextlib
import hashlib
import hmac
import http.client
import json
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from models import clock
from models.config.settings import Settings
from models.payments import Payment
from models.services.payments.providers import mock, stripe_checkout
from ops.console import Failure
from ops.doctor.findings import House

SECONDS = 15
CUT_OFF = 0
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Words:
    """What a callback says: of which payment, how much, and what became of it."""

    payment: str
    amount_rub: Decimal
    outcome: str
    currency: str = "RUB"
    event: str = ""


class Voice:
    """How a provider that signs speaks. Both that we know sign the time and the body, by HMAC-SHA256."""

    provider: str
    header: str

    def __init__(self, key: str) -> None:
        self._key = key

    def signed(self, body: bytes, *, age: int = 0, key: str | None = None) -> Headers:
        """Return the headers of a body that was signed `age` seconds ago, with the provider's key or another."""
        stamp = int(clock.now().timestamp()) - age
        made = hmac.new((key or self._key).encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        return {"Content-Type": "application/json", self.header: f"t={stamp},v1={made}"}

    def body(self, words: Words) -> bytes:
        """Write the words down as this provider does."""
        raise NotImplementedError

    def name_payment(self) -> str:
        """Return a name as this provider gives its payments, which it has given to none."""
        raise NotImplementedError


class MockVoice(Voice):
    provider, header = "mock", mock.SIGNATURE_HEADER

    def body(self, words: Words) -> bytes:
        payment = {"id": words.payment, "amount": f"{words.amount_rub:.2f}", "currency": words.currency}
        said: dict[str, Any] = {"id": words.event or str(uuid.uuid4()), "payment": payment}
        said["event"] = f"payment.{words.outcome}"
        if words.outcome == "refunded":
            said["event"], said["refund"] = "refund.succeeded", {"id": "doctor", "amount": payment["amount"]}
        return json.dumps(said).encode()

    def name_payment(self) -> str:
        return str(uuid.uuid4())


class StripeVoice(Voice):
    provider, header = "stripe", stripe_checkout.SIGNATURE_HEADER

    def body(self, words: Words) -> bytes:
        is_paid = words.outcome == "succeeded"
        about = {
            "id": words.payment,
            "object": "checkout.session",
            "status": "complete" if is_paid else "expired",
            "payment_status": "paid" if is_paid else "unpaid",
            "payment_intent": f"pi_{words.payment}" if is_paid else None,
            "amount_total": int(words.amount_rub * 100),
            "currency": words.currency.lower(),
        }
        kind = "checkout.session.completed" if is_paid else "checkout.session.expired"
        event = f"evt_doctor_{words.event or uuid.uuid4()}"
        return json.dumps({"id": event, "object": "event", "type": kind, "data": {"object": about}}).encode()

    def name_payment(self) -> str:
        return f"cs_doctor_{uuid.uuid4().hex}"


def signers(settings: Settings) -> list[Voice]:
    """Return those of the providers that are switched on and sign, with the keys that they sign with."""
    rules, found = settings.payments, list[Voice]()
    if "mock" in rules.providers and rules.mock_signing_key is not None:
        found.append(MockVoice(rules.mock_signing_key.get_secret_value()))
    if "stripe" in rules.providers and rules.stripe_webhook_secret is not None:
        found.append(StripeVoice(rules.stripe_webhook_secret.get_secret_value()))
    return found


def words_of(payment: Payment, outcome: str, /, **lies: Any) -> Words:
    """Return what is to be said of a payment of ours, with whatever is to be wrong about it."""
    return Words(
        **{"payment": str(payment.provider_payment_id), "amount_rub": payment.amount_rub, **lies}, outcome=outcome
    )


class Address:
    """Where a provider's callbacks go. Nothing between us and the portal is asked, and no redirect is followed."""

    def __init__(self, house: House, provider: str) -> None:
        self._parts = urlsplit(house.portal)
        # In production the portal hears its own name only, also on loopback.
        self._host = urlsplit(house.settings.portal.address).netloc
        self.path = f"{self._parts.path}/api/v1/webhooks/payment/{provider}"

    def send(self, body: bytes, headers: Headers, *, method: str = "POST", chunked: bool = False) -> int:
        """Send one callback and return the status; CUT_OFF when the portal hung up in the middle of it.

        Raises Failure when nothing answers there at all.
        """
        connection = self._connect()
        try:
            content: Any = body
            given = {**headers, "Host": self._host}
            if chunked:
                content = iter([body[start : start + 4096] for start in range(0, len(body), 4096)])
                given["Transfer-Encoding"] = "chunked"
            connection.request(method, self.path, content, given, encode_chunked=chunked)
            return connection.getresponse().status
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            return CUT_OFF
        except (OSError, http.client.HTTPException) as error:
            raise Failure(f"The portal at {self._parts.geturl()} does not answer: {error}.") from None
        finally:
            connection.close()

    def send_at_once(self, callbacks: Sequence[tuple[bytes, Headers]]) -> list[int]:
        """Send all of them at the same instant, each on a connection of its own that stands already."""
        barrier, statuses = threading.Barrier(len(callbacks)), [CUT_OFF] * len(callbacks)

        def run(index: int, body: bytes, headers: Headers) -> None:
            barrier.wait(timeout=SECONDS)
            with contextlib.suppress(Failure):
                statuses[index] = self.send(body, headers)

        threads = [threading.Thread(target=run, args=(index, *each)) for index, each in enumerate(callbacks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=SECONDS)
        try:
            connection.connect()
        except OSError as error:
            where = self._parts.geturl()
            raise Failure(f"The portal at {where} does not answer ({error}); --portal names another address.") from None
        return connection
