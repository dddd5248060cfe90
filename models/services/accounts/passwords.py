"""Password hashing with Argon2id."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()
# Verified when there is no such user, so that the response takes as long as for a wrong password. A constant, since
# computing it would delay the start of every process; the cost parameters must be those of `PasswordHasher()`.
DUMMY_HASH = "$argon2id$v=19$m=65536,t=3,p=4$PwHzi7CmlwMitGJTM23fOQ$CPwKL20l9Rymbd81yo/EYWR07k59HUFwbosKRbueid0"
_dummy_hash = DUMMY_HASH


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
