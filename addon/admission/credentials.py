"""Where a request carries its access: `X-Access-Token`, a browser's cookie, or `Authorization` with our token's shape.

Pure functions over header values. Whatever else `Authorization` holds belongs to the upstream and passes untouched. A
secret of ours is found wherever it stands, so that the upstream never sees one and no table keeps one in the clear.
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
# A secret may have other such signs before or behind it.
_RUN = re.compile(rf"[A-Za-z0-9_-]{{{LENGTH},}}")
_RAW_RUN = re.compile(_RUN.pattern.encode())
# In base64 a secret takes so many signs at least; of either alphabet.
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{86,}")
# What has no such run holds no secret, in base64 or plain: nearly every value.
_ANY_RUN = re.compile(rb"[A-Za-z0-9+/_-]{%d}" % LENGTH)
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_MASKED = "[masked]"

CredentialSource = Literal["x-access-token", "cookie", "authorization"]


@dataclass(slots=True)
class Credential:
    """A secret as it came, and where it stood."""

    secret: str = field(repr=False)
    source: CredentialSource
    # The hash under which a genuine secret is kept; None until the gate has worked it out, and for a made-up one.
    secret_hash: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def purpose(self) -> Purpose:
        """What the secret must have been made for, so that a cookie is no token and a token no cookie."""
        return Purpose.COOKIE if self.source == "cookie" else Purpose.TOKEN


def cookie_name(*, production: bool) -> str:
    """Name the browser's cookie; with `__Host-` no sibling host and no plain HTTP can set it."""
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
    shown = None if authorization is None else _secret_in(authorization)
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


def may_contain_secret(text: str) -> bool:
    """Whether a text may hold a secret of ours: nothing shorter than one does, nor one without so long a run."""
    return len(text) >= LENGTH and _RUN.search(text) is not None


def mask_secret_shapes(text: str) -> str:
    """Mask what has the shape of a secret of ours in a text that is kept."""
    return _RUN.sub(_MASKED, text) if len(text) >= LENGTH else text


def holds_secret(tokens: Tokens, value: bytes) -> bool:
    """Whether a value holds a genuine secret of ours: as it stands, percent-encoded, or in base64 (as in Basic).

    A run of more signs than a secret has is tried at both ends, so that the work stays linear.
    """
    if len(value) < LENGTH:
        return False
    written = [value, unquote_to_bytes(value)] if b"%" in value else [value]
    found = [text for text in written if _ANY_RUN.search(text)]
    readings = [reading for text in found for reading in (text, *_from_base64(text))]
    return any(_is_ours(tokens, run.decode()) for reading in readings for run in _RAW_RUN.findall(reading))


def mask_secrets(tokens: Tokens, value: bytes) -> bytes:
    """Mask the genuine secrets of ours that stand in a value as they are."""
    return _RAW_RUN.sub(lambda run: b"masked" if _is_ours(tokens, run[0].decode()) else run[0], value)


def _is_ours(tokens: Tokens, run: str) -> bool:
    ends = (run,) if len(run) == LENGTH else (run[:LENGTH], run[-LENGTH:])
    return any(secrets.is_genuine(tokens, end, purpose) for end in ends for purpose in Purpose)


def _from_base64(value: bytes) -> list[bytes]:
    found = []
    for run in _BASE64_RUN.findall(value):
        with contextlib.suppress(binascii.Error):
            found.append(binascii.a2b_base64(run.translate(_STANDARD_ALPHABET) + b"=" * (-len(run) % 4)))
    return found
