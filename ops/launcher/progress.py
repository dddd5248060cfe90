"""Detects whether starting processes still make progress, for timeouts of the launcher."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

PROC = Path("/proc")
POLL_SECONDS = 1.0
# A hanging process wakes up now and then; one that makes progress on a busy machine uses this much in a minute.
CPU_SECONDS = 1.0
# Upper limit for a process that restarts its children forever and never serves.
MAX_SECONDS = 1800.0


class Watched(Protocol):
    """A session leader and its log."""

    @property
    def pid(self) -> int: ...

    @property
    def log(self) -> Path: ...


class Progress:
    """Watches log sizes and processor time, about once a second."""

    def __init__(self, processes: Sequence[Watched]) -> None:
        self._processes = processes
        self._began = self._since = self._looked = time.monotonic()
        self._logs, self._cpu = self._log_sizes(), 0.0

    def made(self) -> None:
        """Record progress seen by the caller, such as a process that became ready."""
        self._since = time.monotonic()

    def is_stalled(self, seconds: float) -> bool:
        """Return whether nothing was logged and almost no processor time used for `seconds`."""
        now = time.monotonic()
        if now - self._looked >= POLL_SECONDS:
            self._looked = now
            logs, cpu = self._log_sizes(), sum(map(_cpu_seconds, self._sessions()))
            if logs != self._logs or abs(cpu - self._cpu) >= CPU_SECONDS:
                self._logs, self._cpu, self._since = logs, cpu, now
        return now - self._since > seconds or now - self._began > max(seconds, MAX_SECONDS)

    def _log_sizes(self) -> list[int]:
        sizes = []
        for process in self._processes:
            with contextlib.suppress(OSError):
                sizes.append(process.log.stat().st_size)
        return sizes

    def _sessions(self) -> list[list[str]]:
        """Return the fields of /proc/PID/stat of all processes in the sessions; none without /proc."""
        wanted = {str(process.pid) for process in self._processes}
        found = []
        for entry in os.scandir(PROC) if PROC.is_dir() else ():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    line = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
                    # The name, in parentheses, may contain spaces; state, parent, group and session follow it.
                    fields = line.rpartition(")")[2].split()
                    if fields[3] in wanted:
                        found.append(fields)
        return found


def _cpu_seconds(fields: Sequence[str]) -> float:
    """Return the processor time of a process and of its exited children (proc(5), fields 14 to 17)."""
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
