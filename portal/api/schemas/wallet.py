"""Schemas of the wallet: balance, transactions and top-ups."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from models.ledger import Account, Transfer, TransferKind
from models.payments import PaymentStatus
from models.services import messages
from models.services.ledger import transfers
from models.services.pagination import MAX_LIMIT
from portal.api.schemas.common import Amount, Body, Envelope, Money, Schema, Text, Time, Window


class Balance(Schema):
    """Balance of the wallet."""

    balance: Money
    currency: Literal["ZNC"] = "ZNC"


class TransactionsQuery(Window):
    """Filters for transactions."""

    limit: int = Field(10, ge=1, le=MAX_LIMIT)
    transaction_type: TransferKind | None = None


class Transaction(Schema):
    """A transaction of the wallet; the amount of a purchase is negative."""

    id: UUID
    amount: Money
    transaction_type: TransferKind
    description: str
    payment_id: UUID | None
    created_at: Time


Transactions = Envelope[Transaction]


class TopUp(Body):
    """A top-up; the buyer returns to `return_url`, a path of the portal or a URL at one of `return_origins`."""

    amount_znc: Amount = Field(examples=["50.00"])
    return_url: Text = Field("", max_length=300, examples=["/wallet"])
    provider: Text | None = Field(None, max_length=32, examples=["mock"], description="An enabled payment provider.")


class Started(Schema):
    """A pending payment; the buyer pays at `payment_url`."""

    payment_id: UUID
    payment_url: str
    amount_znc: Money
    amount_rub: Money
    status: PaymentStatus


class MockPurchase(Body):
    """A top-up at the mock provider."""

    amount: Amount = Field(examples=["50.00"])


class PaymentPath(Schema):
    """Path of a payment."""

    payment_id: UUID


class MockPaymentQuery(Schema):
    """Query of a payment of the mock provider."""

    payment_id: UUID


class Settled(Schema):
    """A payment settled by the mock provider."""

    payment_id: UUID
    status: PaymentStatus
    amount: Money
    new_balance: Money
    message: str


def write(transfer: Transfer, wallet: Account) -> Transaction:
    """Return a transfer as a transaction of its wallet."""
    return Transaction(
        id=transfer.id,
        amount=transfers.signed_amount(transfer, wallet),
        transaction_type=transfer.kind,
        description=messages.transfer_text(transfer),
        payment_id=transfer.reference_id if transfer.reference_type == "payment" else None,
        created_at=transfer.created_at,
    )


TRANSACTION_EXAMPLE = {
    "id": "3d0c2f5e-8a51-4d0e-b7f8-6e0a4a1d9c55",
    "amount": "-18.00",
    "transaction_type": "purchase",
    "description": "Token for 24 h",
    "payment_id": None,
    "created_at": "2026-11-24T08:15:00Z",
}
STARTED_EXAMPLE = {
    "payment_id": "5b7f8c1a-2f5b-4c3e-9a55-0b7a9d6c1e22",
    "payment_url": "https://shop.example/mock-checkout/9f1c2f5e-8a51-4d0e-b7f8-6e0a4a1d9c55",
    "amount_znc": "50.00",
    "amount_rub": "500.00",
    "status": "pending",
}
SETTLED_EXAMPLE = {
    "payment_id": "5b7f8c1a-2f5b-4c3e-9a55-0b7a9d6c1e22",
    "status": "succeeded",
    "amount": "50.00",
    "new_balance": "150.00",
    "message": "50.00 ZNC were credited.",
}
