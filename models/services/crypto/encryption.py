"""Encryption of secrets that must be read again: webhook signing keys, two-factor secrets, stored API replies.

AES-256-GCM with a key that HKDF derives from `portal.secret_key`, one for each purpose. The owner's id is authenticated
too, so that a ciphertext copied into another row cannot be decrypted. After a change of `portal.secret_key` all of them
are unreadable and have to be created again.
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
    """What an encrypted secret is for; each purpose has its own key."""

    WEBHOOK = "webhook"
    TOTP = "totp"
    REPLY = "reply"


class DecryptionError(Exception):
    """The secret was encrypted with another key, for another purpose or owner, or was changed."""


def encrypt(portal: Portal, secret: bytes, *, purpose: Purpose, owner: uuid.UUID) -> bytes:
    """Return the secret, encrypted for its owner's row."""
    nonce = os.urandom(NONCE_BYTES)
    return VERSION + nonce + _cipher(portal, purpose).encrypt(nonce, secret, owner.bytes)


def decrypt(portal: Portal, ciphertext: bytes, *, purpose: Purpose, owner: uuid.UUID) -> bytes:
    """Return the decrypted secret. Raises DecryptionError."""
    if not ciphertext.startswith(VERSION):
        raise DecryptionError
    nonce, encrypted = ciphertext[1 : 1 + NONCE_BYTES], ciphertext[1 + NONCE_BYTES :]
    try:
        return _cipher(portal, purpose).decrypt(nonce, encrypted, owner.bytes)
    except (InvalidTag, ValueError):
        raise DecryptionError from None


def _cipher(portal: Portal, purpose: Purpose) -> AESGCM:
    key = HKDF(SHA256(), KEY_BYTES, salt=None, info=f"zenzefi sealing {purpose}".encode())
    return AESGCM(key.derive(portal.secret_key.get_secret_value().encode()))
