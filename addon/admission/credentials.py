"""Credential sources of a request: `X-Access-Token`, the browser access cookie, `Authorization`; masking of secrets.

Pure functions over header values. An `Authorization` without a secret of this service belongs to the upstream and is
forwarded unchanged. Secrets are found in any header, so that none is sent to the upstream or stored in plain text.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_to_bytes

from models.config.server import Tokens
from models.services.crypto import secrets
from models.services.crypto.secrets import LENGTH, Purpose

_SHAPE = re.compile(rf"[A-Za-z0-9_-]{{{LENGTH}}}")
# A secret may be surrounded by more characters of its alphabet.
_RUN = re.compile(rf"[A-Za-z0-9_-]{{{LENGTH},}}")
_RAW_RUN = re.compile(_RUN.pattern.encode())
# In base64, of either alphabet, a secret takes at least this many characters.
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{86,}")
# A value without such a run, which is nearly every one, contains no secret, in base64 or plain.
_ANY_RUN = re.compile(rb"[A-Za-z0-9+/_-]{%d}" % LENGTH)
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_MASKED = "[masked]"

CredentialSource = Literal["x-access-token", "cookie", "authorization"]


@dataclass(slots=True)
class Credential:
    """A secret as received, and its source."""

    secret: str = field(repr=False)
    source: CredentialSource
    # The hash under which a genuine secret is stored; None until it was computed, and for a made-up one.
    secret_hash: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def purpose(self) -> Purpose:
        """The purpose that the secret must have been made for: a cookie's is not valid as a token, nor the reverse."""
        return Purpose.COOKIE if self.source == "cookie" else Purpose.TOKEN


def cookie_name(*, production: bool) -> str:
    """Return the name of the browser access cookie; `__Host-` keeps sibling hosts and plain HTTP from setting it."""
    return "__Host-zenzefi_access" if production else "zenzefi_access"


def find_credential(
    access_token: str | None, authorization: str | None, cookie: str | None = None
) -> Credential | None:
    """Return the first credential: `X-Access-Token`, the browser's cookie, `Authorization`.

    The order is that of docs/spec/http.md#credential-sources.

    An `X-Access-Token` or a cookie of any shape wins, so a wrong one is refused as invalid.
    """
    if access_token is not None:
        return Credential(access_token, "x-access-token")
    if cookie is not None:
        return Credential(cookie, "cookie")
    secret = None if authorization is None else _secret_in(authorization)
    return None if secret is None else Credential(secret, "authorization")


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
    """Return the value of a cookie in all `Cookie` headers; empty, and so invalid, when it was sent twice."""
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


def may_contain_secret(text: str) -> bool:
    """Return whether a text has a run of characters long enough for a secret."""
    return len(text) >= LENGTH and _RUN.search(text) is not None


def mask_secret_shapes(text: str) -> str:
    """Mask everything with the shape of a secret in a text that is stored."""
    return _RUN.sub(_MASKED, text) if len(text) >= LENGTH else text


def holds_secret(tokens: Tokens, value: bytes) -> bool:
    """Return whether a value contains a genuine secret: plain, percent-encoded, or in base64 (as in Basic).

    Only both ends of a run longer than a secret are tried, so that the work stays linear.
    """
    if len(value) < LENGTH:
        return False
    texts = [value, unquote_to_bytes(value)] if b"%" in value else [value]
    found = [text for text in texts if _ANY_RUN.search(text)]
    readings = [reading for text in found for reading in (text, *_from_base64(text))]
    return any(_has_genuine_end(tokens, run.decode()) for reading in readings for run in _RAW_RUN.findall(reading))


def mask_secrets(tokens: Tokens, value: bytes) -> bytes:
    """Mask the genuine secrets in a value, where they are not encoded."""
    return _RAW_RUN.sub(lambda run: b"masked" if _has_genuine_end(tokens, run[0].decode()) else run[0], value)


def _has_genuine_end(tokens: Tokens, run: str) -> bool:
    ends = (run,) if len(run) == LENGTH else (run[:LENGTH], run[-LENGTH:])
    return any(secrets.is_genuine(tokens, end, purpose) for end in ends for purpose in Purpose)


def _from_base64(value: bytes) -> list[bytes]:
    found = []
    for run in _BASE64_RUN.findall(value):
        with contextlib.suppress(binascii.Error):
            found.append(binascii.a2b_base64(run.translate(_STANDARD_ALPHABET) + b"=" * (-len(run) % 4)))
    return found
