"""Doctor checks of the newest backup and of the disk space for the next one."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from models import clock
from ops.backups import manifest
from ops.console import Failure
from ops.doctor.findings import Finding, Installation, Section, duration
from ops.launcher.installation import DATA

# A night, and what a slow one takes.
FRESH = timedelta(hours=30)
# What can be read and hashed within seconds.
QUICK_BYTES = 2 * 1024**3


def folder_of(house: Installation) -> Path:
    """Return where backups are kept."""
    return Path(house.settings.backup.folder or (house.data or DATA) / "backups").absolute()


def examine(house: Installation) -> Iterator[Finding]:
    """Look at the newest backup as a restore would, short of restoring it."""
    is_real, folder, see = house.settings.platform.is_production, folder_of(house), Section.BACKUPS
    if not house.settings.backup.folder:
        do = "Set [backup] folder: then one is made each night at 03:00 UTC."
        yield Finding("Backups are made each night", False, "[backup] folder is empty", do, see, is_urgent=is_real)
    kept = manifest.list_backups(folder)
    if not kept:
        do = "Run ./zenzefi backup now."
        yield Finding("There is a backup", False, f"none in {folder}", do, see, is_urgent=is_real)
        return
    newest, age = kept[0], clock.now() - kept[0].made_at
    seen = f"{len(kept)} in {folder}, the newest {duration(age)} old, {newest.transfers:,} transfers"
    do = "Run ./zenzefi backup, and see why the job jobs.backups.create failed (the office's page of jobs)."
    yield Finding("There is a backup of the last night", age < FRESH, seen, do, see, is_urgent=is_real)
    if not house.is_quick or newest.size <= QUICK_BYTES:
        yield _whole(folder / newest.file)
    room = shutil.disk_usage(folder).free
    seen = f"{room / 2**20:,.0f} MB free, the newest has {newest.size / 2**20:,.0f} MB"
    do = "Lower [backup] keep_days, or move the folder to a larger disk."
    yield Finding("There is room for the next ones", room > 3 * newest.size, seen, do, Section.DISK_FULL)
    if is_real and not house.settings.backup.age_recipients:
        do = "Set [backup] age_recipients to a public key made by age-keygen elsewhere."
        what = "Backups can be read with a key only"
        yield Finding(what, False, "they are not encrypted", do, see, is_urgent=False)


def _whole(dump: Path) -> Finding:
    do = f"Make another one; ./zenzefi restore --drill {dump} tells what is wrong with this."
    try:
        manifest.verify_file(dump)
    except Failure as failure:
        return Finding("The newest backup is what was written", False, str(failure), do, Section.BACKUPS)
    seen = f"{dump.name}, its checksum is right"
    return Finding("The newest backup is what was written", True, seen)
