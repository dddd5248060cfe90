"""Times of last success, kept in Redis for the metrics: jobs and backups."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

# Hash: job name -> Unix time of its last success.
JOBS_KEY = "zenzefi:jobs:succeeded"
BACKUP_KEY = "zenzefi:backup"


@dataclass(frozen=True, slots=True)
class Backup:
    """The last complete backup: when it was made (Unix time) and its size in bytes."""

    made_at: float
    size: int


def backup_as_json(made_at: datetime, size: int) -> str:
    """Encode a backup record for Redis."""
    return json.dumps(asdict(Backup(made_at.timestamp(), size)))


def backup_from_json(text: str | bytes | None) -> Backup | None:
    """Decode a backup record; None when it is missing or malformed."""
    try:
        return Backup(**json.loads(text or ""))
    except (ValueError, TypeError):
        return None
