"""Create a backup: dump, encryption and manifest."""

import hashlib
import os
import shutil
from collections.abc import Buffer, Sequence
from pathlib import Path
from typing import IO

import pyrage
from sqlalchemy import text

from models import clock, database
from models.config.settings import Settings
from ops import schema_revision
from ops.backups import encryption, pg_tools
from ops.backups.manifest import BLOCK, ENCRYPTED, PARTIAL, PLAIN, Manifest
from ops.console import Failure
from ops.processes.secret_files import private_folder
from ops.servers import poolers


class _Hashing:
    """A file that is hashed while it is written sequentially."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: Buffer) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def create(settings: Settings, folder: Path) -> Manifest:
    """Write a backup of the database into a folder; an encrypted one is never on disk unencrypted.

    The dump and the manifest's figures are of one snapshot, so that a restore can be checked. Raises Failure.
    """
    recipients = [recipient(key) for key in settings.backup.age_recipients]
    try:
        private_folder(folder)
    except OSError as error:
        raise Failure(f"Backups cannot be kept in {folder}: {error.strerror}.") from None
    moment = clock.now()
    final = folder / f"zenzefi-{moment:%Y%m%d-%H%M%S}{ENCRYPTED if recipients else PLAIN}"
    partial = final.with_name(final.name + PARTIAL)
    poolers.require_session_pooling(settings.database)
    engine = database.connect(settings.database.direct)
    try:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
            # The transaction is idle while pg_dump runs, which may take long.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
            server = connection.scalar(text("SHOW server_version"))
            transfers = connection.scalar(text("SELECT count(*) FROM transfers"))
            heads = schema_revision.current(connection)
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                written = _Hashing(file)
                with pg_tools.dump(settings.database.direct_url, str(snapshot)) as stream:
                    _copy(stream, written, recipients)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
        digest = written.sha256.hexdigest()
        manifest = Manifest(final.name, digest, size, moment, heads, transfers=int(transfers or 0), server=str(server))
        partial.replace(final)
        try:
            manifest.write(folder)
        except OSError:
            final.unlink()
            raise
    except OSError as error:
        raise Failure(f"The backup cannot be written to {folder}: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)
        engine.dispose()
    return manifest


def recipient(key: str) -> pyrage.x25519.Recipient:
    """Parse an age public key. Raises Failure."""
    try:
        return pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError as error:
        raise Failure(f"backup.age_recipients: {key!r} is not an age public key: {error}.") from None


def _copy(stream: IO[bytes], written: _Hashing, recipients: Sequence[pyrage.x25519.Recipient]) -> None:
    if recipients:
        encryption.encrypt(stream, written, recipients)
    else:
        shutil.copyfileobj(stream, written, BLOCK)
