"""Where a request carries its access: `X-Access-Token`, a browser's cookie, or `Authorization` with our token's shape.

Pure functions over header values. Whatever else `Authorization` holds belongs to the upstream and passes untouched,
unless it is a token of ours that came beside another carrier: the upstream never sees one.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from models.services.secrets import Purpose

_SHAPE = re.compile(r"[A-Za-z0-9_-]{64}")

Carrier = Literal["x-access-token", "cookie", "authorization"]


@dataclass(slots=True)
class Credential:
    """A secret as it came, and the header to take off before forwarding."""

    secret: str = field(repr=False)
    carrier: Carrier
    # What has the shape of our tokens in an `Authorization` that was not used; the gate says whether it is one.
    beside: str | None = field(default=None, repr=False)
    # The hash under which a genuine secret is kept; None until the gate has worked it out, and for a made-up one.
    secret_hash: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def purpose(self) -> Purpose:
        """What the secret must have been made for, so that a cookie is no token and a token no cookie."""
        return Purpose.COOKIE if self.carrier == "cookie" else Purpose.TOKEN


def cookie_name(*, production: bool) -> str:
    """Name the browser's cookie; with `__Host-` no sibling host and no plain HTTP can set it."""
    return "__Host-zenzefi_access" if production else "zenzefi_access"


def find(access_token: str | None, authorization: str | None, cookie: str | None = None) -> Credential | None:
    """Return the first credential in the order of contract.md: our header, the browser's cookie, `Authorization`.

    An `X-Access-Token` or a cookie of any shape wins, so a wrong one is refused as invalid.
    """
    shown = None if authorization is None else _secret_in(authorization)
    if access_token is not None:
        return Credential(access_token, "x-access-token", shown)
    if cookie is not None:
        return Credential(cookie, "cookie", shown)
    return None if shown is None else Credential(shown, "authorization")


def _secret_in(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    match scheme.lower():
        case "bearer":
            secret = value
        case "basic":
            secret = _password(value)
        case _:
            return None
    return secret if _SHAPE.fullmatch(secret) else None


def cookie_value(lines: Sequence[bytes], name: bytes) -> str | None:
    """Return the value of a cookie out of all `Cookie` headers; empty, and so never good, when it came twice."""
    found = [
        value.strip(b" \t")
        for line in lines
        for key, _, value in [pair.partition(b"=") for pair in line.split(b";")]
        if key.strip(b" \t") == name
    ]
    if len(found) > 1:
        return ""
    return found[0].decode("latin-1") if found else None


def _password(encoded: str) -> str:
    """Return the password of Basic credentials, whatever the user name; empty when they are malformed."""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
