"""Nightly backup job: runs the backup command in a subprocess and mails every admin when it fails."""

import logging

from jobs import context, subprocess_command
from models import clock
from models.services.accounts import roles
from models.services.notifications import outbox

logger = logging.getLogger(__name__)


class BackupFailed(Exception):
    """Tonight's backup was not created."""


def create() -> str:
    """Run `./zenzefi backup` with this process's settings and return its manifest. Raises BackupFailed."""
    folder = context.settings().backup.folder
    if not folder:
        return "off: [backup] folder is empty"
    try:
        return subprocess_command.run("ops.commands.backup", "--json", "--out", folder)
    except subprocess_command.CommandFailed as failure:
        reason = str(failure)
    logger.critical("backup: %s", reason)
    with context.sessions().begin() as session:
        for admin in roles.active_admins(session):
            key = f"backup_failed:{clock.now():%Y-%m-%d}:{admin.id}"
            outbox.enqueue_mail(
                session, "backup_failed", admin, dedup_key=key, username=admin.username, reason=reason[:300]
            )
    raise BackupFailed(reason)
