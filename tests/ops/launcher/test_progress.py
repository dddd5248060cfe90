"""The launcher waits for processes that make progress, names them, and fails when one hangs."""

import signal
import sys
import time
from pathlib import Path

import pytest

from ops.console import Failure
from ops.launcher.supervisor import Supervisor
from ops.processes.child import Child

# Each makes progress in a way of its own, and serves after two seconds.
LOGGING = "import time\nfor number in range(200):\n    print(number, flush=True)\n    time.sleep(0.1)"
COMPUTING = "while True: pass"
# It ends with its parent, which is killed.
_BUSY_CHILD = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
IN_A_CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BUSY_CHILD!r}])"
HANGING = "import time\ntime.sleep(60)"


def part(folder: Path, program: str, *, name: str = "part", seconds: float = 4.5) -> Child:
    """A process that serves some seconds after its start."""
    child = Child(name, [sys.executable, "-c", program], folder / f"{name}.log", {"PYTHONUNBUFFERED": "1"})
    child.ready = lambda _pid: time.monotonic() - child.started_at > seconds
    child.stop_signal = signal.SIGKILL
    return child


@pytest.mark.parametrize("program", [LOGGING, COMPUTING, IN_A_CHILD], ids=["logs", "computes", "computes-in-a-child"])
def test_a_part_that_makes_progress_is_waited_for(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a busy machine leaves to it in a second or two, instead of in a minute.
    monkeypatch.setattr("ops.launcher.progress.CPU_SECONDS", 0.1)
    supervisor, seen = Supervisor(tmp_path / "processes.json"), set[str]()
    try:
        supervisor.start([part(tmp_path, program)], within=3, waiting_for=seen.add)
    finally:
        supervisor.stop()
    assert seen == {"waiting for part"}


def test_a_part_that_serves_is_progress_for_the_others(tmp_path: Path) -> None:
    supervisor, seen = Supervisor(tmp_path / "processes.json"), list[str]()
    parts = [part(tmp_path, HANGING, name="one", seconds=1), part(tmp_path, HANGING, name="two", seconds=2)]
    try:
        supervisor.start(parts, within=1.5, waiting_for=seen.append)
    finally:
        supervisor.stop()
    assert list(dict.fromkeys(seen)) == ["waiting for one, two", "waiting for two"]


def test_hanging_parts_are_reported_and_the_start_fails(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "processes.json")
    parts = [part(tmp_path, HANGING, name="one", seconds=0), part(tmp_path, HANGING, name="two", seconds=60)]
    try:
        with pytest.raises(Failure, match=r"two made no progress for 1 s \(log: .*two\.log\)"):
            supervisor.start(parts, within=1)
    finally:
        supervisor.stop()
