"""Where a request carries its access token: `X-Access-Token`, or `Authorization` with exactly our token's shape.

A pure function over header values. Whatever else `Authorization` holds belongs to the upstream and passes untouched.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Literal

ACCESS_TOKEN_HEADER = "X-Access-Token"  # noqa: S105 - a header's name
DEVICE_HEADER = "X-Device-ID"
_SHAPE = re.compile(r"[A-Za-z0-9_-]{64}")

Carrier = Literal["x-access-token", "authorization"]


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret as it came, and the header to take off before forwarding."""

    secret: str
    carrier: Carrier


def find(access_token: str | None, authorization: str | None) -> Credential | None:
    """Return the first credential; an `X-Access-Token` of any shape wins, so a wrong one is refused as invalid."""
    if access_token is not None:
        return Credential(access_token, "x-access-token")
    if authorization is None:
        return None
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    match scheme.lower():
        case "bearer":
            secret = value
        case "basic":
            secret = _password(value)
        case _:
            return None
    return Credential(secret, "authorization") if _SHAPE.fullmatch(secret) else None


def _password(encoded: str) -> str:
    """Return the password of Basic credentials, whatever the user name; empty when they are malformed."""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
