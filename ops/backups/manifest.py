"""Manifests of backups; a backup is a dump in PostgreSQL's custom format, optionally encrypted, with a manifest.

The manifest is written last, so an interrupted backup has none and is not one. It lists what the dump must contain,
which the restore checks.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from models import clock
from ops.console import Failure

BLOCK = 1024 * 1024
PLAIN, ENCRYPTED, MANIFEST = ".dump", ".dump.age", ".json"
# A file that is being written. One that is a day old is left over from a killed run.
PARTIAL, STALE = ".partial", timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Manifest of one backup; `sha256` and `size` (bytes) are of the file as stored, after encryption."""

    file: str
    sha256: str
    size: int
    made_at: datetime
    revisions: tuple[str, ...]
    transfers: int
    server: str

    @property
    def is_encrypted(self) -> bool:
        return self.file.endswith(ENCRYPTED)

    def write(self, folder: Path) -> Path:
        """Write the manifest beside its file, atomically."""
        path = manifest_of(folder / self.file)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(json.dumps(asdict(self) | {"made_at": self.made_at.isoformat()}, indent=1) + "\n")
        fresh.chmod(0o600)
        fresh.replace(path)
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest. Raises Failure when it is missing or invalid."""
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            moment, revisions = datetime.fromisoformat(facts.pop("made_at")), tuple(facts.pop("revisions"))
            return cls(made_at=moment, revisions=revisions, **facts)
        except FileNotFoundError:
            raise Failure(f"There is no {path.name} beside the backup, so its contents cannot be checked.") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Failure(f"{path} cannot be read as the manifest of a backup: {error}.") from None


def manifest_of(dump: Path) -> Path:
    """Return the path of a dump's manifest."""
    return dump.with_name(dump.name.removesuffix(ENCRYPTED).removesuffix(PLAIN) + MANIFEST)


def verify_file(dump: Path) -> Manifest:
    """Check a dump against its manifest and return the manifest. Raises Failure."""
    if not dump.is_file():
        raise Failure(f"There is no file {dump}.")
    manifest = Manifest.read(manifest_of(dump))
    with dump.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if (manifest.file, manifest.sha256) != (dump.name, found):
        raise Failure(f"{dump.name} is not the file that {manifest_of(dump).name} describes: its SHA-256 is {found}.")
    return manifest


def list_backups(folder: Path) -> list[Manifest]:
    """Return the backups in a folder, newest first; unreadable manifests are skipped."""
    found = []
    for path in folder.glob(f"zenzefi-*{MANIFEST}"):
        try:
            manifest = Manifest.read(path)
        except Failure:
            continue
        if (folder / manifest.file).is_file():
            found.append(manifest)
    return sorted(found, key=lambda manifest: manifest.made_at, reverse=True)


def outdated(manifests: list[Manifest], keep_days: int) -> list[Manifest]:
    """Return the backups older than `keep_days`; the newest one is always kept."""
    oldest = clock.now() - timedelta(days=keep_days)
    newest_first = sorted(manifests, key=lambda manifest: manifest.made_at, reverse=True)
    return [manifest for manifest in newest_first[1:] if manifest.made_at < oldest]


def remove(folder: Path, manifest: Manifest) -> None:
    """Delete a backup: the manifest first, so that an incomplete backup never looks complete."""
    manifest_of(folder / manifest.file).unlink(missing_ok=True)
    (folder / manifest.file).unlink(missing_ok=True)


def delete_partial_files(folder: Path) -> None:
    """Delete partial files of killed runs, which could fill the disk."""
    before = (clock.now() - STALE).timestamp()
    for partial in folder.glob(f"*{PARTIAL}"):
        if partial.stat().st_mtime < before:
            partial.unlink(missing_ok=True)
