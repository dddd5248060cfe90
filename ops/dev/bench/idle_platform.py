"""Benchmark of an idle installation: processor time, memory (PSS) and start time of everything that `up` runs."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.bootstrap import REPOSITORY, child_environment
from ops.console import Failure, Step
from ops.dev.bench.environment import FOREIGN
from ops.dev.bench.memory import process_tree
from ops.dev.bench.report import table
from ops.processes import stale
from ops.processes.child import last_line

IDLE_CPU_PERCENT, IDLE_PSS_MIB, WARM_START_SECONDS = 1.0, 320.0, 5.0
START_SECONDS, STOP_SECONDS = 120.0, 60.0
# Programs that are told apart from the platform's own processes.
SERVERS = frozenset({"postgres", "redis-server", "valkey-server"})
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class IdleSizes:
    """How long the installation settles, and how long it is measured."""

    settle_seconds: float
    seconds: float


FULL = IdleSizes(30.0, 60.0)
QUICK = IdleSizes(10.0, 15.0)


@dataclass(frozen=True)
class ProcessUse:
    """Memory and processor time of a process; `cpu_seconds` include those of its exited children."""

    pid: int
    name: str
    is_server: bool
    pss_mib: float
    cpu_seconds: float


def measure(sizes: IdleSizes) -> dict[str, Any]:
    """Start an installation twice, and measure the second one while nobody uses it."""
    with tempfile.TemporaryDirectory(prefix="zenzefi-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)  # PostgreSQL's user must be able to pass through
        with Step("First start"), _running(folder) as first:
            pass
        with _running(folder) as second:
            with Step(f"Settling for {sizes.settle_seconds:g} s"):
                time.sleep(sizes.settle_seconds)
            servers = _servers(folder / "ready.json")
            before, began = uses(folder / "data", servers), time.monotonic()
            with Step(f"Idle for {sizes.seconds:g} s"):
                time.sleep(sizes.seconds)
            after, seconds = uses(folder / "data", servers), time.monotonic() - began
    return {"starts": [first, second], **summarize(before, after, seconds)}


def summarize(before: Sequence[ProcessUse], after: Sequence[ProcessUse], seconds: float) -> dict[str, Any]:
    """Return the processor time used between two samples, and the memory at the second, by process and in total.

    The time of a process that has exited in between is in its parent's.
    """
    earlier = {use.pid: use.cpu_seconds for use in before}
    gone = sum(use.cpu_seconds for use in before if use.pid not in {each.pid for each in after} and not use.is_server)
    rows: list[dict[str, Any]] = [
        {
            "name": use.name,
            "is_server": use.is_server,
            "cpu_percent": 100 * (use.cpu_seconds - earlier.get(use.pid, 0.0)) / seconds,
            "pss_mib": use.pss_mib,
        }
        for use in after
    ]
    ours = [row for row in rows if not row["is_server"]]
    servers = [row for row in rows if row["is_server"]]
    return {
        "processes": sorted(rows, key=lambda row: -row["pss_mib"]),
        "cpu_percent": sum(row["cpu_percent"] for row in ours) - 100 * gone / seconds,
        "pss_mib": sum(row["pss_mib"] for row in ours),
        "servers_cpu_percent": sum(row["cpu_percent"] for row in servers),
        "servers_pss_mib": sum(row["pss_mib"] for row in servers),
    }


def uses(data: Path, servers: Sequence[int] = ()) -> list[ProcessUse]:
    """Return the use of every process that runs on a data folder, its launcher and the given servers included."""
    marked = {process.pid for process in stale.with_mark(str(data))}
    launchers = {parent for parent in map(stale.parent_of, marked) if _runs(parent, "ops.launcher.up", str(data))}
    trees = {each for pid in servers for each in process_tree(pid)}
    return [use for pid in sorted(marked | launchers | trees) if (use := _use(pid)) is not None]


def _use(pid: int) -> ProcessUse | None:
    """Return a process's use; None when it has exited."""
    folder = Path("/proc", str(pid))
    try:
        program = (folder / "comm").read_text().strip()
        words = [word.decode("utf-8", "replace") for word in (folder / "cmdline").read_bytes().split(b"\0")]
        # The name, in parentheses, may contain spaces.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    module = words[words.index("-m") + 1] if "-m" in words else Path(words[0]).name
    # utime, stime, cutime and cstime (proc(5)).
    seconds = sum(int(field) for field in fields[11:15]) / _CLOCK_TICKS
    return ProcessUse(
        pid, module if program not in SERVERS else program, program in SERVERS, _kib(folder) / 1024, seconds
    )


def _kib(folder: Path) -> int:
    """Return the PSS of a process; of another user's process only its private memory can be read."""
    for file, name in (("smaps_rollup", "Pss:"), ("status", "RssAnon:")):
        with contextlib.suppress(OSError):
            lines = (folder / file).read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if line.startswith(name))
    return 0


def _servers(ready: Path) -> list[int]:
    """Return the process ids of PostgreSQL and Redis: PostgreSQL runs as another user, so its mark cannot be read."""
    pids = json.loads(ready.read_text(encoding="utf-8"))["pids"]
    return [pids[name] for name in ("postgres", "redis") if pids[name]]


def _runs(pid: int, *wanted: str) -> bool:
    with contextlib.suppress(OSError):
        words = Path("/proc", str(pid), "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        return all(word in words for word in wanted)
    return False


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[dict[str, float]]:
    """Run `up` on a data folder; yields the seconds until it was ready, and the processor time used by then."""
    ready, output = folder / "ready.json", folder / "up.log"
    ready.unlink(missing_ok=True)
    environment = {name: value for name, value in child_environment().items() if not name.startswith(FOREIGN)}
    command = [sys.executable, "-P", "-m", "ops.launcher.up", "--data", str(folder / "data")]
    command += ["--portal-port", "0", "--proxy-port", "0", "--ready-file", str(ready)]
    began, earlier = time.monotonic(), _children_seconds()
    with output.open("ab") as log:
        launcher = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    try:
        while not ready.exists():
            if launcher.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise Failure(f"The platform did not start: {last_line(output)}")
            time.sleep(0.02)
        seconds = time.monotonic() - began
        spent = sum(use.cpu_seconds for use in uses(folder / "data"))
        yield {"seconds": seconds, "cpu_seconds": spent + _children_seconds() - earlier}
    finally:
        launcher.send_signal(signal.SIGTERM)
        try:
            launcher.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.wait()
            stale.end(stale.with_mark(str(folder / "data")), signal.SIGTERM, 5)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def text(results: dict[str, Any]) -> str:
    """Return the tables of a run, and how they compare with the targets."""
    lines = [
        [row["name"], f"{row['cpu_percent']:.2f}", f"{row['pss_mib']:.1f}"]
        for row in results["processes"]
        if not row["is_server"]
    ]
    lines.append(["all of them", f"{results['cpu_percent']:.2f}", f"{results['pss_mib']:.1f}"])
    lines.append(["PostgreSQL and Redis", f"{results['servers_cpu_percent']:.2f}", f"{results['servers_pss_mib']:.1f}"])
    starts = [
        [name, f"{start['seconds']:.1f}", f"{start['cpu_seconds']:.1f}"]
        for name, start in zip(("first, with initdb and migrations", "again"), results["starts"], strict=True)
    ]
    judged = [
        ("idle processor time", results["cpu_percent"], IDLE_CPU_PERCENT, "% of a core"),
        ("idle memory (PSS)", results["pss_mib"], IDLE_PSS_MIB, "MiB"),
        ("second start", results["starts"][-1]["seconds"], WARM_START_SECONDS, "s"),
    ]
    targets = [
        [name, f"under {limit:g} {unit}", f"{found:.2f} {unit}", "met" if found < limit else "MISSED"]
        for name, found, limit, unit in judged
    ]
    return "\n".join(
        [
            *table(["idle installation", "% of a core", "PSS, MiB"], lines),
            "",
            *table(["start of the platform", "seconds", "CPU s"], starts),
            "",
            *table(["target", "limit", "measured", ""], targets),
        ]
    )
