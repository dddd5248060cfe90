"""What a payment provider is to us."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from sqlalchemy.orm import Session

from models.payments import Payment

Outcome = Literal["succeeded", "canceled", "refunded", "disputed", "dispute_won"]
# Outcomes that are about a part of a payment: the amount is then that of the refund or dispute.
OF_A_PART = frozenset[Outcome]({"refunded", "disputed", "dispute_won"})


@dataclass(frozen=True, slots=True)
class Event:
    """What a provider says about a payment; its signature has been checked. The amount is in roubles.

    `refund_id` is the provider's id of the refund or dispute, `refund_key` our own id of it where it repeats that.
    """

    event_id: str
    provider_payment_id: str
    outcome: Outcome
    amount_rub: Decimal
    currency: str
    body: dict[str, Any]
    refund_id: str | None = None
    refund_key: str | None = None


class Provider(Protocol):
    """Creates payments at a provider, verifies its callbacks, and asks it about a payment."""

    name: str

    def create(self, session: Session, payment: Payment) -> str:
        """Start the payment at the provider, set its id on `payment`, and return the address of the checkout."""
        ...

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Event:
        """Read a callback; raises CallbackRefused on any doubt."""
        ...

    def fetch(self, session: Session, payment: Payment) -> Event | None:
        """Ask the provider what became of a payment; None while it is undecided."""
        ...

    def refund(self, session: Session, payment: Payment, amount_rub: Decimal, key: str) -> str:
        """Give a part of a settled payment back and return the provider's id of that.

        The same `key` gives it back once. Raises ProviderRefused for good, ProviderDown when it may be tried again.
        """
        ...
