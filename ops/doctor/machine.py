"""Checks of the machine: disk space, file descriptors, logs, load and memory."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from ops.doctor.findings import Finding, Installation, Section
from ops.launcher.installation import DATA, Folders

FREE_MB, FREE_SHARE = 1024, 0.05
LARGE_LOGS_MB = 1024
SPARE_FILES = 500


def examine(installation: Installation) -> Iterator[Finding]:
    """Check disk, load, logs, and the limits of this process, which the processes of `up` inherit."""
    folders = Folders((installation.data or DATA).absolute())
    existing = next(folder for folder in (folders.data, *folders.data.parents) if folder.exists())
    usage = shutil.disk_usage(existing)
    free, share = usage.free / 2**20, usage.free / usage.total
    seen = f"{free:,.0f} MB ({share:.0%}) in {existing}"
    do = "Remove old backups and logs, or enlarge the disk; PostgreSQL stops when it is full."
    has_room = free > FREE_MB and share > FREE_SHARE
    yield Finding("The disk has free space", has_room, seen, do, Section.DISK_FULL, is_urgent=free < FREE_MB / 4)
    yield from _descriptors(installation)
    if folders.logs.is_dir():
        size = sum(file.stat().st_size for file in folders.logs.iterdir() if file.is_file()) / 2**20
        seen = f"{size:,.0f} MB in {folders.logs}"
        do = "Rotate them with logrotate (docs/OPERATIONS.md)."
        yield Finding("The logs are small", size < LARGE_LOGS_MB, seen, do, Section.DISK_FULL, is_urgent=False)
    cores, load = os.cpu_count() or 1, os.getloadavg()[1]
    seen = f"load {load:.1f} over five minutes on {cores} cores, {_free_memory():,.0f} MB of memory free"
    do = "Find the busy processes with top; docs/OPERATIONS.md describes scaling."
    is_idle = load < 2 * cores and _free_memory() > 256
    yield Finding("The machine is not overloaded", is_idle, seen, do, Section.SLOW, is_urgent=False)


def _descriptors(installation: Installation) -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Each client connection may have an upstream connection.
    needed = 2 * installation.settings.proxy.connections + SPARE_FILES
    do = f"ulimit -n {needed} (LimitNOFILE= in a unit), or lower [proxy] connections."
    seen = f"{hard:,}; {installation.settings.proxy.connections:,} connections at one worker need {needed:,}"
    yield Finding("A worker can open enough files", hard >= needed, seen, do, Section.FILE_DESCRIPTORS, is_urgent=False)


def _free_memory() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return 0.0
