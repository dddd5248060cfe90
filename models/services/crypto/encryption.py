"""Encryption of secrets that must be read again: webhook signing keys, two-factor secrets, stored API replies.

AES-256-GCM under a key that HKDF derives from `portal.secret_key`, one for each purpose. Whose secret it is goes into
what is authenticated, so that a sealed secret copied into another row opens nothing there. A new `portal.secret_key`
makes all of them unreadable: they are made anew then.
"""

import os
import uuid
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.config.server import Portal

KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = b"\x01"


class Purpose(StrEnum):
    """What a sealed secret is for; each has a key of its own."""

    WEBHOOK = "webhook"
    TOTP = "totp"
    REPLY = "reply"


class DecryptionError(Exception):
    """The secret was sealed under another key, for another purpose or owner, or was changed."""


def encrypt(portal: Portal, secret: bytes, *, purpose: Purpose, owner: uuid.UUID) -> bytes:
    """Return the secret encrypted for its owner's row."""
    nonce = os.urandom(NONCE_BYTES)
    return VERSION + nonce + _cipher(portal, purpose).encrypt(nonce, secret, owner.bytes)


def decrypt(portal: Portal, sealed: bytes, *, purpose: Purpose, owner: uuid.UUID) -> bytes:
    """Return the secret. Raises SealBroken."""
    if not sealed.startswith(VERSION):
        raise DecryptionError
    nonce, encrypted = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return _cipher(portal, purpose).decrypt(nonce, encrypted, owner.bytes)
    except (InvalidTag, ValueError):
        raise DecryptionError from None


def _cipher(portal: Portal, purpose: Purpose) -> AESGCM:
    key = HKDF(SHA256(), KEY_BYTES, salt=None, info=f"zenzefi sealing {purpose}".encode())
    return AESGCM(key.derive(portal.secret_key.get_secret_value().encode()))
