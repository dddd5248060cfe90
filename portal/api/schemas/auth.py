"""Registration, login and the second login step."""

from pydantic import Field

from portal.api.schemas.common import Body, Schema, Text
from portal.api.schemas.users import Email, FullName, NewPassword, Username


class RegisterQuery(Schema):
    """Referral of a registration."""

    ref: Text = Field("", max_length=12, description="The referral code of another user.")


class Register(Body):
    """A new account."""

    email: Email = Field(examples=["alice@example.com"])
    username: Username = Field(examples=["alice"])
    password: NewPassword = Field(examples=["correct horse battery"])
    full_name: FullName | None = Field(None, examples=["Alice Example"])


class Credentials(Body):
    """Credentials of a login; `otp` is the six-digit code or a recovery code of a user with two-factor login."""

    email: Text = Field(max_length=254, examples=["alice@example.com"])
    password: str = Field(max_length=128, examples=["correct horse battery"])
    otp: Text | None = Field(None, max_length=32, examples=["123456"])


class LoginToken(Schema):
    """A login's token: for the header `Authorization: Bearer …`."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - a kind, not a secret
    expires_in: int = Field(description="Seconds.")


TOKEN_EXAMPLE = {"access_token": "eyJhbGciOiJIUzI1NiIs…", "token_type": "bearer", "expires_in": 3600}
