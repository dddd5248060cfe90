"""Secrets: made with a keyed MAC inside, kept as a keyed hash.

A secret is 40 random bytes and an 8-byte HMAC-SHA256 over them, written as 64 URL-safe characters
(docs/spec/http.md#tokens). A made-up secret therefore fails without a look-up, and a stolen database grants no access.
The purpose is part of MAC and hash, so a browser's cookie is never accepted as a token, nor a token as a cookie.
"""

import base64
import hashlib
import hmac
import os
import re
from enum import StrEnum

from models.config.server import Tokens

LENGTH = 64
PREFIX_LENGTH = 8
RANDOM_BYTES = 40
MAC_BYTES = 8
_SHAPE = re.compile(rf"[A-Za-z0-9_-]{{{LENGTH}}}")


class Purpose(StrEnum):
    """What a secret is for: the prefix of what is signed and hashed. Empty for tokens, which came first."""

    TOKEN = ""
    TICKET = "ticket:"
    COOKIE = "cookie:"
    GIFT = "gift:"
    API_KEY = "api-key:"
    LINK = "link:"
    ADDRESS = "address:"


def new_secret(settings: Tokens, purpose: Purpose = Purpose.TOKEN) -> str:
    """Create a secret, signed with the newest key."""
    random = os.urandom(RANDOM_BYTES)
    return base64.urlsafe_b64encode(random + _mac(settings.macs[0], random, purpose)).decode()


def is_genuine(settings: Tokens, secret: str, purpose: Purpose = Purpose.TOKEN) -> bool:
    """Return whether one of our keys made this secret for this purpose, without a query."""
    if not _SHAPE.fullmatch(secret):
        return False
    raw = base64.urlsafe_b64decode(secret)
    random, mac = raw[:RANDOM_BYTES], raw[RANDOM_BYTES:]
    return any(hmac.compare_digest(_mac(key, random, purpose), mac) for key in settings.macs)


def hash_of(settings: Tokens, secret: str, purpose: Purpose = Purpose.TOKEN) -> bytes:
    """Return the 32-byte keyed hash under which a secret is stored."""
    return hmac.digest(settings.hash_key.get_secret_value().encode(), f"{purpose}{secret}".encode(), hashlib.sha256)


def _mac(key: bytes, random: bytes, purpose: Purpose) -> bytes:
    return hmac.digest(key, purpose.encode() + random, hashlib.sha256)[:MAC_BYTES]
