"""What a payment provider is to us."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from sqlalchemy.orm import Session

from models.payments import Payment

Outcome = Literal["succeeded", "canceled"]


@dataclass(frozen=True, slots=True)
class Event:
    """What a provider says about a payment; its signature has been checked. The amount is in roubles."""

    event_id: str
    provider_payment_id: str
    outcome: Outcome
    amount_rub: Decimal
    currency: str
    body: dict[str, Any]


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
