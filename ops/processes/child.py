"""One process that the launcher keeps: started in a session of its own, asked to stop, and killed if it does not."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops.console import Failure
from ops.launcher.progress import Progress

# Every process that `up` starts carries the data folder's path under this name, and hands it on to its own children.
MARK = "ZENZEFI_RUN"
LARGEST_LOG = 10 * 1024 * 1024


def kill_with_parent(death_signal: signal.Signals) -> list[str]:
    """Return the prefix of a command that is sent `death_signal` when the process that starts it dies.

    It does so as the last thing before the command itself, because a change of user would undo it. Where util-linux
    is missing the prefix is empty, and only the next start finds what a killed launcher left behind.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--"] if setpriv else []


@dataclass
class Child:
    """A process with its command, its log, the test that tells when it serves, and how it wants to be stopped.

    `ready` is asked from the main loop, again and again, and must neither wait long nor raise. A child is always
    started from the main thread: the system counts the death of the starting thread as the death of the parent.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    ready: Callable[[int], bool] = lambda _: True
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    prefix: Sequence[str] = ()
    working_folder: Path = Path("/")
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)

    @property
    def pid(self) -> int:
        """The process id; 0 when it was never started."""
        return self.process.pid if self.process else 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def is_ready(self) -> bool:
        return self.is_running and self.ready(self.pid)

    def spawn(self) -> None:
        """Start the process and return at once; raises Failure when the program cannot be started."""
        _rotate(self.log)
        command = [*self.prefix, *kill_with_parent(self.death_signal), *self.command]
        try:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(self.environment),
                    cwd=self.working_folder,
                    start_new_session=True,  # Ctrl-C in the terminal must reach the launcher alone
                )
        except OSError as error:
            raise Failure(f"{self.name} cannot be started: {error}.") from None
        self.started_at = time.monotonic()

    def start(self, within: float = 60.0) -> None:
        """Start the process and wait until it serves; raises Failure when it ends or stalls for so many seconds."""
        self.spawn()
        self.wait_ready(within)

    def wait_ready(self, within: float = 60.0) -> None:
        """Wait until the process serves; raises Failure when it ends, or makes no progress and is killed."""
        progress = Progress([self])
        while not self.is_ready:
            if not self.is_running:
                raise Failure(self.exit_message())
            if progress.is_stalled(within):
                self.kill()
                raise Failure(stalled_message([self], within))
            time.sleep(0.02)

    def request_stop(self) -> None:
        """Send the signal that this program takes as a request to end."""
        if self.is_running:
            self._signal(self.stop_signal)

    def stop(self) -> None:
        """Ask the process to end, and kill it when it has not done so in its time."""
        self.request_stop()
        self.wait(self.stop_seconds)
        self.kill()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the process; tell whether it came."""
        try:
            if self.process is not None:
                self.process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End the process and its group with SIGKILL, and reap it."""
        if self.process is None or self.process.returncode is not None:
            return
        for send in (os.killpg, os.kill):
            try:
                send(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        self.process.wait()

    def exit_message(self) -> str:
        """Say how the process ended, with the last line of its log."""
        code = self.process.poll() if self.process else None
        how = "has ended" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        return f"{self.name} {how}: {last_line(self.log)} (log: {self.log})"

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def stalled_message(children: Sequence[Child], seconds: float) -> str:
    """Say that processes do not answer, and where to look."""
    names = ", ".join(child.name for child in children)
    logs = ", ".join(str(child.log) for child in children)
    return f"Waited for {names} and saw no progress for {seconds:.0f} s (log: {logs})."


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote no log")


def _rotate(log: Path) -> None:
    """Keep one older log beside the new one when it has grown large."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
