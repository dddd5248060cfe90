"""Heads of the audit chain at each nightly check, recorded beside the backups.

With write access to the database only, an attacker can delete rows from the end of the log and leave a valid chain.
A head that was recorded elsewhere is then missing from the chain.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from models import clock
from ops.console import Failure
from ops.processes.secret_files import private_folder

FILE = "audit-heads.jsonl"


@dataclass(frozen=True, slots=True)
class ChainHeads:
    """The recorded heads in one folder."""

    folder: Path

    def note(self, number: int, head: bytes, *, restored: bool = False) -> None:
        """Record the head of the chain; after a restore, heads recorded beyond it are ignored. Raises Failure."""
        line = {"at": clock.now().isoformat(), "number": number, "hash": head.hex(), "restored": restored}
        try:
            private_folder(self.folder)
            with (self.folder / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise Failure(
                f"The head of the audit chain cannot be recorded in {self.folder}: {error.strerror}."
            ) from None

    def known(self) -> dict[int, bytes]:
        """Return the recorded hashes by row number. Raises Failure."""
        found: dict[int, bytes] = {}
        try:
            with (self.folder / FILE).open(encoding="utf-8") as file:
                for line in file:
                    entry = json.loads(line)
                    if entry["restored"]:
                        found = {number: head for number, head in found.items() if number <= entry["number"]}
                    found[entry["number"]] = bytes.fromhex(entry["hash"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failure(f"{self.folder / FILE} cannot be read: {error}") from None
        found.pop(0, None)
        return found
