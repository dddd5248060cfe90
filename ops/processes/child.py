"""A child process in its own session: started, stopped by a signal, and killed after a time-out."""

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

# Environment variable with the data folder's path in every process that `up` starts; their children inherit it.
MARK = "ZENZEFI_RUN"
LARGEST_LOG = 10 * 1024 * 1024


def kill_with_parent(death_signal: signal.Signals) -> list[str]:
    """Return the prefix of a command that gets `death_signal` when its parent process dies.

    It must come last before the command, because a change of user resets it. Without util-linux the prefix is empty,
    and only the next start ends the processes of a killed launcher.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--"] if setpriv else []


@dataclass
class Child:
    """A process with its command, log, readiness check and stop signal.

    `ready` is called repeatedly from the main loop and must neither block nor raise. A child must be started from the
    main thread: to the kernel, the end of the starting thread is the death of the parent (prctl(2), PR_SET_PDEATHSIG).
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
        """Start the process without waiting. Raises Failure when the program cannot be started."""
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
        """Start the process and wait until it is ready. Raises Failure when it exits or stalls for `within` s."""
        self.spawn()
        self.wait_ready(within)

    def wait_ready(self, within: float = 60.0) -> None:
        """Wait until the process is ready. Raises Failure when it exits, or stalls and is killed."""
        progress = Progress([self])
        while not self.is_ready:
            if not self.is_running:
                raise Failure(self.exit_message())
            if progress.is_stalled(within):
                self.kill()
                raise Failure(stalled_message([self], within))
            time.sleep(0.02)

    def request_stop(self) -> None:
        """Send the stop signal."""
        if self.is_running:
            self._signal(self.stop_signal)

    def stop(self) -> None:
        """Stop the process, and kill it after `stop_seconds`."""
        self.request_stop()
        self.wait(self.stop_seconds)
        self.kill()

    def wait(self, seconds: float) -> bool:
        """Wait for the process to exit; returns whether it did."""
        try:
            if self.process is not None:
                self.process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kill the process and its group, and reap it."""
        if self.process is None or self.process.returncode is not None:
            return
        for send in (os.killpg, os.kill):
            try:
                send(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        self.process.wait()

    def exit_message(self) -> str:
        """Return how the process exited, with the last line of its log."""
        code = self.process.poll() if self.process else None
        how = "has ended" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        return f"{self.name} {how}: {last_line(self.log)} (log: {self.log})"

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def stalled_message(children: Sequence[Child], seconds: float) -> str:
    """Return the message for processes that do not become ready."""
    names = ", ".join(child.name for child in children)
    logs = ", ".join(str(child.log) for child in children)
    return f"{names} made no progress for {seconds:.0f} s (log: {logs})."


def last_line(log: Path) -> str:
    """Return the last non-empty line of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")


def _rotate(log: Path) -> None:
    """Rotate a large log, keeping one older file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
