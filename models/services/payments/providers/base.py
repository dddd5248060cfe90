"""Interface of payment providers, and the values that they exchange with the services."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from sqlalchemy.orm import Session

from models.payments import Payment, PaymentFailure

# "unreadable": genuine and about a payment, but in an unknown format.
Outcome = Literal["succeeded", "canceled", "refunded", "refund_failed", "disputed", "dispute_won", "unreadable"]
# Outcomes about a part of a payment: the amount is that of the refund or dispute.
PARTIAL_OUTCOMES = frozenset[Outcome]({"refunded", "refund_failed", "disputed", "dispute_won"})


@dataclass(frozen=True, slots=True)
class Event:
    """A provider's verified report on a payment.

    `refund_id` is the provider's id of the refund or dispute, `refund_key` our own id of it if the provider repeats it.
    `charge_id` is the second id that some providers use once a payment is paid. The amount is in `currency`.
    """

    event_id: str
    provider_payment_id: str
    outcome: Outcome
    amount_rub: Decimal
    currency: str
    body: dict[str, Any]
    refund_id: str | None = None
    refund_key: str | None = None
    charge_id: str | None = None
    failure: PaymentFailure | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund at the provider, by the provider's id; until it `is_done` it can still be refused."""

    id: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class StatusHint:
    """An unauthenticated report that a payment may have changed, so its provider is queried."""

    provider_payment_id: str


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback as received; `address` is the sender's IP address."""

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    address: str = ""


class Provider(Protocol):
    """Creates payments at a provider, verifies its callbacks, and queries it about a payment."""

    name: str
    # Origins of its checkout pages, for the form-action directive of our Content-Security-Policy.
    checkout_origins: tuple[str, ...]

    def create(self, session: Session, payment: Payment) -> str:
        """Start the payment at the provider, set its id on `payment`, and return the checkout's URL.

        The payment is not stored yet, so no row is locked during the request. Starting the same payment again returns
        the same checkout. Raises ProviderRefused and ProviderDown.
        """
        ...

    def verify(self, callback: Callback) -> Event | StatusHint | None:
        """Verify and parse a callback; None for a genuine one of no interest. Raises CallbackRefused otherwise."""
        ...

    def cancel(self, session: Session, payment: Payment) -> None:
        """Close a checkout, where the provider allows that. Raises as `fetch` does."""
        ...

    def fetch(self, session: Session, payment: Payment) -> list[Event]:
        """Query the provider for the state of a payment and its refunds; empty while it is undecided.

        Raises ProviderRefused and ProviderDown.
        """
        ...

    def refund(self, session: Session, payment: Payment, amount_rub: Decimal, key: str) -> Refund:
        """Refund a part of a settled payment, and return the state of the refund.

        A `key` is refunded once, however late it is repeated: providers forget idempotency keys after a day, so an
        existing refund with that key is searched first. Raises ProviderRefused for good, ProviderDown when it may be
        retried.
        """
        ...
