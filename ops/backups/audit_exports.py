"""Export files of the audit log: rows as JSON lines, compressed, with a manifest.

The first line has the hash that the chain continues from. The manifest is written last, so an interrupted export has
none and is not one. Exports are encrypted where backups are.
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
    """A row does not match its hash-chain link: nothing is exported or deleted."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Manifest of one export; hashes are hexadecimal, `sha256` is of the file as stored."""

    file: str
    sha256: str
    first: int
    last: int
    anchor: str
    head: str

    def write(self, folder: Path) -> None:
        """Write the manifest beside its file, atomically."""
        path = manifest_of(folder / self.file)
        with _partial(path) as file:
            file.write((json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def beside(cls, path: Path) -> Self:
        """Return the manifest of a file that matches it. Raises Failure."""
        try:
            manifest = cls(**json.loads(manifest_of(path).read_text(encoding="utf-8")))
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError, TypeError) as error:
            raise Failure(f"{path} cannot be read as an export of an audit log: {error}") from None
        if (manifest.file, manifest.sha256) != (path.name, found):
            raise Failure(
                f"{path.name} is not the file that {manifest_of(path).name} describes: its SHA-256 is {found}."
            )
        return manifest


def manifest_of(path: Path) -> Path:
    """Return the path of an export's manifest."""
    return path.with_name(path.name.removesuffix(".age").removesuffix(PLAIN) + MANIFEST)


def write(
    path: Path, part: ChainPart, rows: Iterable[ChainedRow], key: bytes, recipients: Sequence[pyrage.x25519.Recipient]
) -> tuple[Manifest, Head]:
    """Write a part of the chain into a file, verified on the way, and sync it to disk. Raises Failure."""
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
    """Verify the chain in a file; returns its last valid link and the fault, if any. Raises Failure for no export."""
    manifest = Manifest.beside(path)
    try:
        with _opened(path, identities) as lines:
            first = json.loads(next(lines))
            if first != _first_line(manifest.first, manifest.anchor):
                raise Failure(f"{path.name} does not begin with the hash in its manifest.")
            number, before = manifest.first - 1, bytes.fromhex(manifest.anchor)
            rows = (ChainedRow.of_json(line) for line in lines)
            head, fault = chain_verification.verify_lines(key, rows, number=number, before=before)
    except (OSError, EOFError, ValueError, StopIteration) as error:
        raise Failure(f"{path.name} cannot be read to its end: {error}") from None
    if fault is None and (head.number, head.hash.hex()) != (manifest.last, manifest.head):
        fault = Fault("removed", head.number + 1)
    return head, fault


def _compress(file: IO[bytes], part: ChainPart, rows: Iterable[ChainedRow], checker: Checker) -> None:
    # No name and time in the header: the same rows give the same file.
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


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


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
    """Yield a file that gets its final name once it is complete and synced."""
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
