"""An export of the audit log: rows as JSON, one a line, compressed, and a manifest beside it.

The first line says from where the chain goes on. The manifest is written last, so an export that was cut short is
none. Where backups are encrypted, exports are, too.
"""

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

import pyrage

from models.services.audit import verification as chain_verification
from models.services.audit.hash_chain import ChainedRow, Head
from models.services.audit.retention import ChainPart
from models.services.audit.verification import Checker, Fault
from ops.backups import encryption
from ops.backups.manifest import BLOCK
from ops.console import Failure
from ops.processes.secret_files import private_folder

PLAIN, ENCRYPTED, MANIFEST = ".jsonl.gz", ".jsonl.gz.age", ".json"
FORMAT = "zenzefi audit 1"


class InvalidChain(Failure):
    """A row that was to be exported is not what was sealed: nothing is exported, and nothing removed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts of one export; hashes are hexadecimal, `sha256` is of the file as it lies there."""

    file: str
    sha256: str
    first: int
    last: int
    anchor: str
    head: str

    def write(self, folder: Path) -> None:
        """Put the manifest beside its file, at once or not at all."""
        path = manifest_of(folder / self.file)
        with _partial(path) as file:
            file.write((json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def beside(cls, path: Path) -> Self:
        """Return the manifest of a file that is what it says. Raises Failure."""
        try:
            told = cls(**json.loads(manifest_of(path).read_text(encoding="utf-8")))
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError, TypeError) as error:
            raise Failure(f"{path} cannot be read as an export of an audit log: {error}") from None
        if (told.file, told.sha256) != (path.name, found):
            raise Failure(
                f"{path.name} is not the file that {manifest_of(path).name} describes: its SHA-256 is {found}."
            )
        return told


def manifest_of(path: Path) -> Path:
    """Return where the manifest of an export lies."""
    return path.with_name(path.name.removesuffix(".age").removesuffix(PLAIN) + MANIFEST)


def write(
    path: Path, part: ChainPart, rows: Iterable[ChainedRow], key: bytes, recipients: Sequence[pyrage.x25519.Recipient]
) -> tuple[Manifest, Head]:
    """Write a part of the chain into a file, verified on the way and safe on disk when this returns. Raises Failure."""
    private_folder(path.parent)
    final = path.with_name(path.name + (ENCRYPTED if recipients else PLAIN))
    checker = Checker(key, part.anchor.number, part.anchor.hash, part.anchor.happened_at)
    try:
        with _partial(final) as file:
            if recipients:
                with tempfile.TemporaryFile(dir=path.parent) as plain:
                    _compress(plain, part, rows, checker)
                    plain.seek(0)
                    encryption.encrypt(plain, file, recipients)
            else:
                _compress(file, part, rows, checker)
        with final.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        head = checker.head
        made = Manifest(final.name, digest, part.first, part.last, part.anchor.hash.hex(), head.hash.hex())
        made.write(path.parent)
    except OSError as error:
        raise Failure(f"The audit log cannot be exported to {path.parent}: {error.strerror}.") from None
    return made, head


def verify(path: Path, key: bytes, identities: Sequence[pyrage.x25519.Identity]) -> tuple[Head, Fault | None]:
    """Say how far the chain in a file holds, and what is wrong with it. Raises Failure when it is no export."""
    manifest = Manifest.beside(path)
    try:
        with _opened(path, identities) as lines:
            told = json.loads(next(lines))
            if told != _first_line(manifest.first, manifest.anchor):
                raise Failure(f"{path.name} does not begin as its manifest says.")
            number, before = manifest.first - 1, bytes.fromhex(manifest.anchor)
            rows = (ChainedRow.of_json(line) for line in lines)
            head, fault = chain_verification.verify_lines(key, rows, number=number, before=before)
    except (OSError, EOFError, ValueError, StopIteration) as error:
        raise Failure(f"{path.name} cannot be read to its end: {error}") from None
    if fault is None and (head.number, head.hash.hex()) != (manifest.last, manifest.head):
        fault = Fault("removed", head.number + 1)
    return head, fault


def _compress(file: IO[bytes], part: ChainPart, rows: Iterable[ChainedRow], checker: Checker) -> None:
    # Without name and time in it, the same rows make the same file.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        packed.write(_line(_first_line(part.first, part.anchor.hash.hex())))
        for sealed in rows:
            if fault := checker.check(sealed):
                raise InvalidChain(f"Nothing is exported: {fault}.")
            packed.write(_line(sealed.as_json()))
    if checker.head.number != part.last:
        raise InvalidChain(f"Nothing is exported: {Fault('removed', checker.head.number + 1)}.")


def _first_line(first: int, anchor: str) -> dict[str, Any]:
    return {"format": FORMAT, "first": first, "anchor": anchor}


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


@contextmanager
def _opened(path: Path, identities: Sequence[pyrage.x25519.Identity]) -> Iterator[Iterator[bytes]]:
    with path.open("rb") as file, tempfile.TemporaryFile() as plain:
        source: IO[bytes] = file
        if path.name.endswith(ENCRYPTED):
            if not identities:
                raise Failure("The export is encrypted: name the file with the private key by --identity.")
            encryption.decrypt(file, plain, identities, "The export")
            plain.seek(0)
            source = plain
        with gzip.GzipFile(fileobj=source) as packed:
            yield iter(packed)


@contextmanager
def _partial(final: Path) -> Iterator[IO[bytes]]:
    """Yield a file that takes its name once it is whole and on disk."""
    partial = final.with_name(final.name + ".partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", BLOCK) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(final)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)
