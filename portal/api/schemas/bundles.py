"""Bundles: list and purchase of several tokens at once."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from models import bundles as tables
from models.services.ledger.money import round_down
from models.services.tokens.bundles import Price
from portal.api.schemas.common import Body, Envelope, Hours, Money, Schema, Text, Time, Window, plain, whole
from portal.api.schemas.tokens import SOLD_EXAMPLE, Token

Percent = Annotated[Decimal, Field(ge=0, le=90, max_digits=4, decimal_places=2, strict=False), BeforeValidator(plain)]
Count = Annotated[int, Field(ge=2, le=100), BeforeValidator(whole)]


class BundlesQuery(Window):
    """Filters for bundles."""


class BundlePath(Schema):
    """Path of a bundle."""

    bundle_id: UUID


class NewBundle(Body):
    """A new bundle."""

    name: Text = Field(min_length=1, max_length=50, examples=["Starter"])
    description: Text = Field("", max_length=200, examples=["For a first week"])
    token_count: Count = Field(examples=[5])
    duration_hours: Hours = Field(examples=[24])
    scope: Text = Field("full", max_length=64, examples=["full"])
    discount_percent: Percent = Field(examples=["10.00"])


class BundleChanges(Body):
    """Changes of a bundle for future sales; omitted fields stay as they are."""

    name: Text | None = Field(None, min_length=1, max_length=50)
    description: Text | None = Field(None, max_length=200)
    token_count: Count | None = None
    duration_hours: Hours | None = None
    scope: Text | None = Field(None, max_length=64)
    discount_percent: Percent | None = Field(None, examples=["15.00"])
    is_active: bool | None = None


class BundlePurchase(Body):
    """Purchase of a bundle; without a coupon the body may be omitted."""

    # A key of flask-openapi3's own.
    model_config = ConfigDict(openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]

    coupon: Text | None = Field(None, max_length=32, examples=["SPRING"])

    @model_validator(mode="before")
    @classmethod
    def _take_no_body_for_an_empty_one(cls, body: object) -> object:
        return {} if body is None else body


class Bundle(Schema):
    """A bundle and its current price."""

    id: UUID
    name: str
    description: str
    token_count: int
    duration_hours: int
    scope: str
    discount_percent: Money
    base_price: Money
    total_price: Money
    savings: Money
    price_per_token: Money
    is_active: bool
    created_at: Time
    updated_at: Time


Bundles = Envelope[Bundle]


class SoldBundle(Schema):
    """A sale: the tokens, whose secrets are shown only here."""

    bundle_name: str
    tokens_generated: int
    cost_znc: Money
    new_balance: Money
    tokens: list[Token]


def write(bundle: tables.Bundle, price: Price) -> Bundle:
    """Return a bundle as in responses."""
    return Bundle(
        id=bundle.id,
        name=bundle.name,
        description=bundle.description,
        token_count=bundle.token_count,
        duration_hours=bundle.duration_hours,
        scope=bundle.scope,
        discount_percent=bundle.discount_percent,
        base_price=price.base,
        total_price=price.total,
        savings=price.savings,
        price_per_token=round_down(price.total / bundle.token_count),
        is_active=bundle.is_active,
        created_at=bundle.created_at,
        updated_at=bundle.updated_at,
    )


BUNDLE_EXAMPLE = {
    "id": "1f6a4b8e-9f0d-4a45-8c4a-3c1f7f2a9b10",
    "name": "Starter",
    "description": "For a first week",
    "token_count": 5,
    "duration_hours": 24,
    "scope": "full",
    "discount_percent": "10.00",
    "base_price": "90.00",
    "total_price": "81.00",
    "savings": "9.00",
    "price_per_token": "16.20",
    "is_active": True,
    "created_at": "2026-11-24T08:15:00Z",
    "updated_at": "2026-11-24T08:15:00Z",
}
SALE_EXAMPLE = {
    "bundle_name": "Starter",
    "tokens_generated": 1,
    "cost_znc": "81.00",
    "new_balance": "19.00",
    "tokens": [{**SOLD_EXAMPLE, "name": "Starter 1", "cost_znc": "16.20"}],
}
