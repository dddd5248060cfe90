"""The nightly backup. It runs as the command does, in a process of its own, and tells every admin when it fails."""

import logging
import subprocess
import sys
from pathlib import Path

from jobs import runtime
from models import clock
from models.services import outbox, users

logger = logging.getLogger(__name__)
REPOSITORY = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 4 * 3600


class BackupFailed(Exception):
    """There is no backup of tonight."""


def make() -> str:
    """Run `./zenzefi backup` with this process's settings; returns its manifest. Raises BackupFailed."""
    folder = runtime.settings().backup.folder
    if not folder:
        return "off: [backup] folder is empty"
    command = [sys.executable, "-P", "-m", "ops.backup", "--json", "--out", folder]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
    )
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1]
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    logger.critical("backup: %s", reason)
    with runtime.sessions().begin() as session:
        for admin in users.superusers(session):
            key = f"backup_failed:{clock.now():%Y-%m-%d}:{admin.id}"
            outbox.write(session, "backup_failed", admin, dedup_key=key, username=admin.username, reason=reason[:300])
    raise BackupFailed(reason)
