"""What the end of the chain was at each nightly check, noted beside the backups.

Who can write to the database alone can take rows off the end of the log and leave a chain that holds. The notes lie
elsewhere, and name a hash that is not there any more.
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
    """The notes of one folder."""

    folder: Path

    def note(self, number: int, head: bytes, *, restored: bool = False) -> None:
        """Append the end of the chain; after a restore, what was noted beyond it counts no more. Raises Failure."""
        line = {"at": clock.now().isoformat(), "number": number, "hash": head.hex(), "restored": restored}
        try:
            private_folder(self.folder)
            with (self.folder / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise Failure(f"The end of the audit log cannot be noted in {self.folder}: {error.strerror}.") from None

    def known(self) -> dict[int, bytes]:
        """Return the hashes that were noted, by number; none where nothing was. Raises Failure."""
        found: dict[int, bytes] = {}
        try:
            with (self.folder / FILE).open(encoding="utf-8") as file:
                for line in file:
                    told = json.loads(line)
                    if told["restored"]:
                        found = {number: head for number, head in found.items() if number <= told["number"]}
                    found[told["number"]] = bytes.fromhex(told["hash"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failure(f"{self.folder / FILE} cannot be read: {error}") from None
        found.pop(0, None)
        return found
