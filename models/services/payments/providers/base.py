"""What a payment provider is to us."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from sqlalchemy.orm import Session

from models.payments import Payment, PaymentFailure

# "unreadable" is genuine and about a payment, but not in a form that we know.
Outcome = Literal["succeeded", "canceled", "refunded", "refund_failed", "disputed", "dispute_won", "unreadable"]
# Outcomes that are about a part of a payment: the amount is then that of the refund or dispute.
OF_A_PART = frozenset[Outcome]({"refunded", "refund_failed", "disputed", "dispute_won"})


@dataclass(frozen=True, slots=True)
class Event:
    """What a provider reports of a payment, checked to be its own report.

    `refund_id` is the provider's id of the refund or dispute, `refund_key` our own id of it where it repeats that.
    `charge_id` is a second id that a provider uses for the payment once it is paid. The amount is in `currency`.
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
    """A refund at the provider, by its own id; until it `is_done` it can still be refused."""

    id: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """An unauthenticated report: something may have happened to this payment, so its provider is queried."""

    provider_payment_id: str


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback as it came in; `address` is the sender's IP address."""

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    address: str = ""


class Provider(Protocol):
    """Creates payments at a provider, verifies its callbacks, and asks it about a payment."""

    name: str
    # Origins of its checkout pages, for the form-action directive of our Content-Security-Policy.
    checkout_origins: tuple[str, ...]

    def create(self, session: Session, payment: Payment) -> str:
        """Start the payment at the provider, set its id on `payment`, and return the address of the checkout.

        The payment is not stored yet, so that no row is locked while the provider is asked. Starting the same payment
        again gives the same checkout. Raises ProviderRefused and ProviderDown.
        """
        ...

    def verify(self, callback: Callback) -> Event | Ask | None:
        """Verify and parse a callback; None for a genuine one of no interest. Raises CallbackRefused otherwise."""
        ...

    def cancel(self, session: Session, payment: Payment) -> None:
        """End a checkout that nobody is to pay any more, where the provider lets us. Raises as `fetch` does."""
        ...

    def fetch(self, session: Session, payment: Payment) -> list[Event]:
        """Query the provider for the state of a payment and its refunds; empty while it is undecided.

        Raises ProviderRefused and ProviderDown.
        """
        ...

    def refund(self, session: Session, payment: Payment, amount_rub: Decimal, key: str) -> Refund:
        """Refund a part of a settled payment, and return the state of the refund.

        The same `key` gives it back once, however late it is repeated: providers forget idempotency keys after a day,
        so what was made under it is looked for first. Raises ProviderRefused for good, ProviderDown when it may be
        tried again.
        """
        ...
