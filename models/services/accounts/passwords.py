"""Password hashing with Argon2id."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()
# Verified when there is no such user, so that the response takes as long as for a wrong password.
_dummy_hash = _hasher.hash("a password that belongs to nobody")


def hash_password(password: str) -> str:
    """Return the hash to store."""
    return _hasher.hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """Verify a password, in the same time whether or not there is a stored hash."""
    try:
        matches = _hasher.verify(stored or _dummy_hash, password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and stored is not None


def needs_rehash(stored: str) -> bool:
    """Return whether the hash was made with outdated parameters."""
    return _hasher.check_needs_rehash(stored)
