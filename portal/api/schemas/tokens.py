"""Schemas of access tokens."""

from uuid import UUID

from pydantic import Field, RootModel

from models import clock
from models.access_tokens import AccessToken
from models.services.pagination import MAX_OFFSET
from models.services.tokens.queries import ENDED
from portal.api.schemas.common import Body, Hours, Money, Schema, Text, Time


class Purchase(Body):
    """Purchase of a token."""

    duration_hours: Hours = Field(examples=[24], description="A duration of the price list.")
    scope: Text = Field("full", max_length=64, examples=["full"])
    name: Text | None = Field(None, max_length=50, examples=["Workshop"])
    coupon: Text | None = Field(None, max_length=32, examples=["SPRING"])


class MineQuery(Schema):
    """Filters for the caller's tokens."""

    active_only: bool = Field(True, description="Omit revoked and expired tokens.")
    limit: int = Field(100, ge=1, le=100)
    offset: int = Field(0, ge=0, le=MAX_OFFSET)


class TokenPath(Schema):
    """Path of a token."""

    token_id: UUID


class Token(Schema):
    """A token; `token` is its secret in the response to the purchase, and masked afterwards."""

    id: UUID
    name: str
    token: str
    duration_hours: int
    scope: str
    cost_znc: Money
    created_at: Time
    activated_at: Time | None
    expires_at: Time | None
    is_active: bool


class Tokens(RootModel[list[Token]]):
    """An array of tokens."""


class Revoked(Schema):
    """Refund of a revocation."""

    revoked: bool
    refund_amount: Money
    new_balance: Money
    message: str


def write(token: AccessToken, secret: str | None = None) -> Token:
    """Return a token as in responses."""
    return Token(
        id=token.id,
        name=token.name,
        token=secret or f"{token.prefix}…",
        duration_hours=token.duration_hours,
        scope=token.scope,
        cost_znc=token.price_paid,
        created_at=token.created_at,
        activated_at=token.activated_at,
        expires_at=token.expires_at,
        is_active=token.state(clock.now()) not in ENDED,
    )


TOKEN_EXAMPLE = {
    "id": "7e1882e7-bca0-494b-b757-33cefa288bd8",
    "name": "Workshop",
    "token": "q3Zk7w1x…",
    "duration_hours": 24,
    "scope": "full",
    "cost_znc": "18.00",
    "created_at": "2026-11-24T08:15:00Z",
    "activated_at": None,
    "expires_at": None,
    "is_active": True,
}
SOLD_EXAMPLE = {**TOKEN_EXAMPLE, "token": "q3Zk7w1xJt0kq9b6dXn2cV8mR5yH4fL1aE7uP3sGzQ0oWiKjTlBvNxCyMhDrFgUe"}
REVOKED_EXAMPLE = {
    "revoked": True,
    "refund_amount": "18.00",
    "new_balance": "100.00",
    "message": "The token is revoked. 18.00 ZNC were refunded to your wallet.",
}
