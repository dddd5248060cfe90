"""What processes leave in Redis for the metrics besides counts: when something last went well."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

# A hash: the name of a job and the Unix time of its last success.
JOBS_KEY = "zenzefi:jobs:succeeded"
BACKUP_KEY = "zenzefi:backup"


@dataclass(frozen=True, slots=True)
class Backup:
    """The last backup that is where it should be: when it was made (Unix time), and how many bytes it has."""

    made_at: float
    size: int


def backup_as_json(made_at: datetime, size: int) -> str:
    """Write down for Redis that a backup was made."""
    return json.dumps(asdict(Backup(made_at.timestamp(), size)))


def backup_from_json(text: str | bytes | None) -> Backup | None:
    """Read what `note_of` wrote; None when there is nothing that can be understood."""
    try:
        return Backup(**json.loads(text or ""))
    except (ValueError, TypeError):
        return None
