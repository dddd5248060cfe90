"""Checks of the backups: age, checksum, encryption, and disk space for the next ones."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from models import clock
from ops.backups import manifest
from ops.console import Failure
from ops.doctor.findings import Finding, Installation, Section, duration
from ops.launcher.installation import DATA

# A day and the duration of a slow backup.
FRESH = timedelta(hours=30)
# Read and hashed within seconds.
QUICK_BYTES = 2 * 1024**3


def folder_of(installation: Installation) -> Path:
    """Return the folder of the backups."""
    return Path(installation.settings.backup.folder or (installation.data or DATA) / "backups").absolute()


def examine(installation: Installation) -> Iterator[Finding]:
    """Check the newest backup as a restore does, without restoring it."""
    is_real, folder, see = installation.settings.platform.is_production, folder_of(installation), Section.BACKUPS
    if not installation.settings.backup.folder:
        do = "Set [backup] folder: a job then makes one each night at 03:00 UTC."
        yield Finding("Backups are made each night", False, "[backup] folder is empty", do, see, is_urgent=is_real)
    kept = manifest.list_backups(folder)
    if not kept:
        do = "Run ./zenzefi backup now."
        yield Finding("There is a backup", False, f"none in {folder}", do, see, is_urgent=is_real)
        return
    newest, age = kept[0], clock.now() - kept[0].made_at
    seen = f"{len(kept)} in {folder}, the newest {duration(age)} old, {newest.transfers:,} transfers"
    do = "Run ./zenzefi backup, and check why the job jobs.backups.create failed (admin area, Jobs)."
    yield Finding("The newest backup is recent", age < FRESH, seen, do, see, is_urgent=is_real)
    if not installation.is_quick or newest.size <= QUICK_BYTES:
        yield _whole(folder / newest.file)
    room = shutil.disk_usage(folder).free
    seen = f"{room / 2**20:,.0f} MB free, the newest has {newest.size / 2**20:,.0f} MB"
    do = "Lower [backup] keep_days, or move the folder to a larger disk."
    yield Finding("There is space for the next backups", room > 3 * newest.size, seen, do, Section.DISK_FULL)
    if is_real and not installation.settings.backup.age_recipients:
        do = "Set [backup] age_recipients to a public key made by age-keygen elsewhere."
        what = "Backups are encrypted"
        yield Finding(what, False, "they are not encrypted", do, see, is_urgent=False)


def _whole(dump: Path) -> Finding:
    do = f"Make another one; ./zenzefi restore --drill {dump} describes the fault of this one."
    try:
        manifest.verify_file(dump)
    except Failure as failure:
        return Finding("The newest backup has the right checksum", False, str(failure), do, Section.BACKUPS)
    seen = f"{dump.name}"
    return Finding("The newest backup has the right checksum", True, seen)
