"""Encryption with age, from file to file; what is wrong with the written one is raised as what it is.

pyrage makes every error of a file one of its own, so that a full disk would look like a fault of encryption, and a
pg_restore that gave up like a wrong key.
"""

from collections.abc import Buffer, Sequence
from typing import Protocol

import pyrage

from ops.console import Failure


class Readable(Protocol):
    """What is read to its end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    """What is written once, from start to end."""

    def write(self, data: Buffer, /) -> int: ...

    def flush(self) -> None: ...


class _ErrorKeepingFile:
    """A file that remembers why it could not be written."""

    def __init__(self, file: Writable) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Buffer) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.error = error
            raise


def encrypt(source: Readable, target: Writable, recipients: Sequence[pyrage.x25519.Recipient]) -> None:
    """Encrypt to the end of `source`. Raises OSError as `target` does, and Failure."""
    kept = _ErrorKeepingFile(target)
    try:
        pyrage.encrypt_io(source, kept, recipients)
    except pyrage.EncryptError as error:
        raise kept.error or Failure(f"It cannot be encrypted: {error}.") from None


def decrypt(source: Readable, target: Writable, keys: Sequence[pyrage.x25519.Identity], what: str) -> None:
    """Decrypt to the end of `source`, which is called `what`. Raises OSError as `target` does, and Failure."""
    kept = _ErrorKeepingFile(target)
    try:
        pyrage.decrypt_io(source, kept, keys)
    except pyrage.DecryptError as error:
        raise kept.error or Failure(f"{what} cannot be decrypted with this key: {error}.") from None
