"""Schemas of the admin endpoints: users, tokens and the audit log."""

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from models.audit import AuditAction, AuditEntry, Origin
from models.users import User as UserRow
from portal.api.schemas.common import Body, Envelope, Money, Schema, Text, Time, Window, plain
from portal.api.schemas.tokens import Token
from portal.api.schemas.users import USER_EXAMPLE, User


def _action(word: str) -> str:
    if word not in set(AuditAction):
        raise ValueError("there is no such action")
    return word


# The document does not list the actions: there are many, and each new one would change it.
Action = Annotated[str, AfterValidator(_action), Field(max_length=64)]
Target = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2, strict=False), BeforeValidator(plain)]
Reason = Annotated[Text, Field(min_length=3, max_length=200)]


class UsersQuery(Window):
    """Filters for users; `search` matches e-mail addresses and names."""

    search: Text = Field("", max_length=100)
    is_active: bool | None = None


class UserPath(Schema):
    """Path of a user."""

    user_id: UUID


class AdminUser(User):
    """A user with their balance."""

    currency_balance: Money


AdminUsers = Envelope[AdminUser]


class UserChanges(Body):
    """Changes of a user; `currency_balance` is the new balance of the wallet, and needs a reason."""

    is_active: bool | None = None
    is_superuser: bool | None = None
    currency_balance: Target | None = Field(None, examples=["150.00"])
    reason: Reason | None = Field(None, examples=["Goodwill after the outage"])

    @model_validator(mode="after")
    def _a_balance_needs_a_reason(self) -> "UserChanges":
        if self.currency_balance is not None and self.reason is None:
            raise ValueError("reason is needed to change a balance")
        return self


class TokensQuery(Window):
    """Filters for tokens."""

    user_id: UUID | None = None
    active_only: bool = False


AdminTokens = Envelope[Token]


class RevokeQuery(Schema):
    """Reason of a revocation; the token's owner is notified of it."""

    reason: Reason = "Revoked by an admin"


class ForceRevoked(Schema):
    """A token revoked by an admin, without a refund."""

    revoked: bool
    token_id: UUID
    message: str


class AuditQuery(Window):
    """Filters for the audit log."""

    user_id: UUID | None = None
    action: Action | None = Field(None, description="An action such as `token.purchased`.")
    resource_type: Text | None = Field(None, max_length=64)


class Audit(Schema):
    """An entry of the audit log; `actor_id` is empty for actions of the platform.

    `origin` is the side that wrote the entry, empty in the oldest; `request_id` the `X-Request-ID` of the answer.
    """

    id: int
    created_at: Time
    action: str
    actor_id: UUID | None
    user_id: UUID | None
    resource_type: str
    resource_id: UUID | None
    ip_address: str | None
    user_agent: str | None
    request_id: str | None
    origin: Origin | None
    details: dict[str, Any]


AuditLog = Envelope[Audit]


def write_user(user: UserRow, balance: Decimal) -> AdminUser:
    """Return a user with the fields for admins."""
    return AdminUser(**User.model_validate(user).model_dump(), currency_balance=balance)


def write_entry(entry: AuditEntry) -> Audit:
    """Return an entry of the audit log."""
    return Audit.model_validate(entry)


ADMIN_USER_EXAMPLE = {**USER_EXAMPLE, "currency_balance": "150.00"}
FORCE_REVOKED_EXAMPLE = {
    "revoked": True,
    "token_id": "7e1882e7-bca0-494b-b757-33cefa288bd8",
    "message": "The token is revoked. Nothing was paid back.",
}
AUDIT_EXAMPLE = {
    "id": 4711,
    "created_at": "2026-11-24T08:15:00Z",
    "action": "token.purchased",
    "actor_id": USER_EXAMPLE["id"],
    "user_id": USER_EXAMPLE["id"],
    "resource_type": "token",
    "resource_id": "7e1882e7-bca0-494b-b757-33cefa288bd8",
    "ip_address": "203.0.113.7",
    "user_agent": "curl/8.5.0",
    "request_id": "5f1c0d9f3a7b4c2e8d6a",
    "origin": "api",
    "details": {"hours": 24, "scope": "full", "price": "18.00"},
}
