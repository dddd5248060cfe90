"""Schemas of the caller's account and referrals."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from models import time_zones
from models.services.accounts import password_policy, users
from portal.api.schemas.common import Body, Money, Schema, Text, Time, fit


# One function for each kind: where a field has a default of its own, pydantic 2.11 keeps but the last of several.
def _email(text: str) -> str:
    text = fit(text).strip()
    if not users.EMAIL.fullmatch(text):
        raise ValueError("does not look like an e-mail address")
    return text


def _username(text: str) -> str:
    text = fit(text).strip()
    if not users.USERNAME.fullmatch(text):
        raise ValueError("use 3 to 50 letters, digits, points, hyphens or underscores")
    return text


def _time_zone(name: str) -> str:
    if name not in time_zones.names():
        raise ValueError("there is no such time zone; write it like Europe/Moscow, or UTC")
    return name


Email = Annotated[str, AfterValidator(_email), Field(max_length=254)]
Username = Annotated[str, AfterValidator(_username), Field(min_length=3, max_length=50)]
NewPassword = Annotated[str, Field(min_length=password_policy.LENGTH.start, max_length=password_policy.LENGTH.stop - 1)]
# The document does not list the zones: there are hundreds, and an edition of them changes the list.
TimeZone = Annotated[str, AfterValidator(_time_zone), Field(max_length=64)]
FullName = Annotated[Text, Field(max_length=users.FULL_NAME_LENGTH)]


class User(Schema):
    """The caller's account."""

    id: UUID
    email: str
    username: str
    full_name: str | None
    is_active: bool
    is_superuser: bool
    referral_code: str
    time_zone: str | None
    created_at: Time
    updated_at: Time


class Changes(Body):
    """A change of the user's own profile; fields that are left out stay as they are."""

    full_name: FullName | None = None
    time_zone: TimeZone | None = Field(None, examples=["Europe/Moscow"], description="Time zone of days in statistics.")
    password: NewPassword | None = None
    current_password: str | None = Field(None, max_length=128)

    @model_validator(mode="after")
    def _a_new_password_needs_the_old_one(self) -> "Changes":
        if self.password is not None and self.current_password is None:
            raise ValueError("current_password is needed to set a new password")
        return self


class Referred(Schema):
    """A referred user; `bonus` is what they have earned the referrer so far."""

    username: str
    created_at: Time
    bonus: Money | None


class Referrals(Schema):
    """Summary of a user's referrals."""

    referral_code: str
    referral_link: str
    total_referrals: int
    qualifying_referrals: int
    total_bonus_earned: Money
    referred_users: list[Referred]


USER_EXAMPLE = {
    "id": "0d9a7a3c-0c2b-4a77-9f0e-3f5c6b1f4a10",
    "email": "alice@example.com",
    "username": "alice",
    "full_name": "Alice Example",
    "is_active": True,
    "is_superuser": False,
    "referral_code": "K7Q2M9XW4T1B",
    "time_zone": "Europe/Moscow",
    "created_at": "2026-11-24T08:15:00Z",
    "updated_at": "2026-11-24T08:15:00Z",
}
REFERRALS_EXAMPLE = {
    "referral_code": "K7Q2M9XW4T1B",
    "referral_link": "https://shop.example/register?ref=K7Q2M9XW4T1B",
    "total_referrals": 1,
    "qualifying_referrals": 1,
    "total_bonus_earned": "10.00",
    "referred_users": [{"username": "bob", "created_at": "2026-11-24T09:00:00Z", "bonus": "10.00"}],
}
