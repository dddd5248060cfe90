"""Encryption of files with age, which keeps the errors of the written file.

pyrage turns every file error into its own, so that a full disk would look like an encryption error, and a failed
pg_restore like a wrong key.
"""

from collections.abc import Buffer, Sequence
from typing import Protocol

import pyrage

from ops.console import Failure


class Readable(Protocol):
    """A source that is read to its end."""

    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    """A target that is written sequentially."""

    def write(self, data: Buffer, /) -> int: ...

    def flush(self) -> None: ...


class _ErrorKeepingFile:
    """A file that keeps the error of a failed write."""

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
    """Encrypt `source` to its end. Raises the OSError of `target`, or Failure."""
    kept = _ErrorKeepingFile(target)
    try:
        pyrage.encrypt_io(source, kept, recipients)
    except pyrage.EncryptError as error:
        raise kept.error or Failure(f"Encryption failed: {error}.") from None


def decrypt(source: Readable, target: Writable, keys: Sequence[pyrage.x25519.Identity], what: str) -> None:
    """Decrypt `source` to its end; `what` names it in errors. Raises the OSError of `target`, or Failure."""
    kept = _ErrorKeepingFile(target)
    try:
        pyrage.decrypt_io(source, kept, keys)
    except pyrage.DecryptError as error:
        raise kept.error or Failure(f"{what} cannot be decrypted with this key: {error}.") from None
