"""Token secrets: made with a keyed MAC inside, kept as a keyed hash.

A secret is 40 random bytes and an 8-byte HMAC-SHA256 over them, written as 64 URL-safe characters (contract.md,
section 2). A made-up secret therefore fails without any look-up, and a stolen database opens nothing.
"""

import base64
import hashlib
import hmac
import os
import re

from models.config import Tokens

LENGTH = 64
PREFIX_LENGTH = 8
RANDOM_BYTES = 40
MAC_BYTES = 8
_SHAPE = re.compile(rf"[A-Za-z0-9_-]{{{LENGTH}}}")


def new_secret(settings: Tokens) -> str:
    """Make a secret; the newest key signs it."""
    random = os.urandom(RANDOM_BYTES)
    return base64.urlsafe_b64encode(random + _mac(settings.macs[0], random)).decode()


def is_genuine(settings: Tokens, secret: str) -> bool:
    """Say whether one of our keys made this secret; looks nothing up."""
    if not _SHAPE.fullmatch(secret):
        return False
    raw = base64.urlsafe_b64decode(secret)
    random, mac = raw[:RANDOM_BYTES], raw[RANDOM_BYTES:]
    return any(hmac.compare_digest(_mac(key, random), mac) for key in settings.macs)


def hash_of(settings: Tokens, secret: str) -> bytes:
    """Return the 32-byte keyed hash under which a secret is stored."""
    return hmac.digest(settings.hash_key.get_secret_value().encode(), secret.encode(), hashlib.sha256)


def _mac(key: bytes, random: bytes) -> bytes:
    return hmac.digest(key, random, hashlib.sha256)[:MAC_BYTES]
