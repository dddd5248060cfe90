"""Find and end the processes that an earlier run left behind.

They are recognised by their environment, working folder or start time, never by their id alone: ids are reused.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ops.processes.child import MARK

PROC = Path("/proc")


class Process(NamedTuple):
    """A process; the start time tells it from a later one with the same id."""

    pid: int
    started: int  # clock ticks since boot


def identify(pid: int) -> Process | None:
    """Return the running process with that id; None when there is none, or only a zombie."""
    try:
        # The command's name is in parentheses and may contain parentheses and spaces.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else Process(pid, int(fields[19]))


def parent_of(pid: int) -> int:
    """Return the id of a process's parent; 0 when the process does not exist."""
    try:
        return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_alive(process: Process) -> bool:
    """Return whether exactly that process still runs."""
    return identify(process.pid) == process


def with_mark(mark: str) -> list[Process]:
    """Return all processes with the mark of a data folder in their environment, except this one."""
    wanted = f"{MARK}={mark}".encode()
    return list(_where(lambda folder: wanted in (folder / "environ").read_bytes().split(b"\0")))


def with_working_folder(folder: Path) -> list[Process]:
    """Return all processes whose working folder is `folder`, as a server's is its data folder."""
    wanted = str(folder)
    return list(_where(lambda entry: os.readlink(entry / "cwd") == wanted))


def end(processes: Iterable[Process], first: signal.Signals, seconds: float) -> bool:
    """Send the processes the signal `first`, kill the rest after `seconds`; returns whether all have exited."""
    living = [process for process in processes if is_alive(process)]
    for number, timeout in ((first, seconds), (signal.SIGKILL, 5.0)):
        for process in living:
            _send(process, number)
        deadline = time.monotonic() + timeout
        while living and time.monotonic() < deadline:
            time.sleep(0.02)
            living = [process for process in living if is_alive(process)]
        if not living:
            return True
    return False


def write_record(file: Path, pids: dict[str, int]) -> None:
    """Write the running processes to a file, each with name, start time and command."""
    rows = []
    for name, pid in pids.items():
        process = identify(pid)
        if process is not None:
            rows.append({"name": name, "pid": pid, "started": process.started, "command": _command(pid)})
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(json.dumps({"boot": _boot(), "processes": rows}), encoding="utf-8")
    fresh.replace(file)


def read_record(file: Path) -> list[Process]:
    """Return the processes in a file of `write_record` that still run: same boot, id, start time and command."""
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        if written["boot"] != _boot():
            return []
        rows = [(Process(row["pid"], row["started"]), row["command"]) for row in written["processes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [process for process, command in rows if is_alive(process) and _command(process.pid) == command]


def _where(holds: Callable[[Path], bool]) -> Iterator[Process]:
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            process = identify(int(entry.name)) if holds(entry) else None
        except OSError:  # it has exited, or belongs to another user
            continue
        if process is not None:
            yield process


def _command(pid: int) -> str:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _boot() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _send(process: Process, number: signal.Signals) -> None:
    try:
        if is_alive(process):
            os.kill(process.pid, number)
    except ProcessLookupError:
        pass
