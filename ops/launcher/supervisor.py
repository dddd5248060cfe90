"""Supervisor of `up`: starts processes in order, restarts them, and stops them in reverse order."""

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from ops.console import Failure, print_error, print_line
from ops.launcher.progress import Progress
from ops.processes import stale
from ops.processes.child import Child, stalled_message

# A start fails after this long without progress.
STALLED_SECONDS = 60.0
MAX_BACKOFF_SECONDS = 30.0
HEALTHY_SECONDS = 60.0  # a process that ran this long is restarted without back-off
FORCED_STOP_SECONDS = 2.0
TICK_SECONDS = 0.5
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """The launcher was asked to stop while it was starting."""


class Supervisor:
    """Supervises groups of processes, which are started and stopped together.

    Everything runs in the main thread. `record` is the file with the running processes for the next start; `changed` is
    called after a restart.
    """

    def __init__(self, record: Path, changed: Callable[[], None] = lambda: None) -> None:
        self.changed = changed
        self._record = record
        self._groups: list[Sequence[Child]] = []
        self._requests = 0
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}
        # A signal writes into one end, which wakes the main loop at once.
        self._wake, self._signalled = socket.socketpair()
        self._wake.setblocking(False)
        self._signalled.setblocking(False)

    def listen_to_signals(self) -> None:
        """Handle Ctrl-C, SIGTERM and SIGHUP as requests to stop; a second one shortens the time-outs."""
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        for number in STOPPING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # keep nohup working
                signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    @property
    def children(self) -> list[Child]:
        """All started processes, in order."""
        return [child for group in self._groups for child in group]

    def start(
        self,
        children: Sequence[Child],
        within: float = STALLED_SECONDS,
        waiting_for: Callable[[str], None] = lambda _names: None,
    ) -> None:
        """Start processes together and wait until all are ready, as long as they make progress.

        `waiting_for` is called with the names of those that are not ready. Raises Failure when one exits or none
        makes progress for `within` seconds, and Stopped when the launcher is asked to stop.
        """
        self._groups.append(children)
        for child in children:
            child.spawn()
        self._write_record()
        waiting, progress = list(children), Progress(children)
        while waiting:
            self.check()
            before = len(waiting)
            waiting = [child for child in waiting if not child.is_ready]
            if len(waiting) < before:
                progress.made()
            for child in waiting:
                if not child.is_running:
                    raise Failure(child.exit_message())
            if waiting:
                if progress.is_stalled(within):
                    raise Failure(stalled_message(waiting, within))
                waiting_for(f"waiting for {', '.join(child.name for child in waiting)}")
                self._sleep(0.05)

    def check(self) -> None:
        """Raise Stopped when the launcher was asked to stop."""
        if self._requests:
            raise Stopped

    def watch(self, tick: Callable[[], None] = lambda: None) -> None:
        """Restart processes that exit, until asked to stop; `tick` is called twice a second."""
        while not self._requests:
            for child in self.children:
                if not child.is_running:
                    self._restart(child)
            tick()
            self._sleep(TICK_SECONDS)

    def stop(self) -> None:
        """Stop all processes in reverse order; kill those that exceed their time-out."""
        asked = max(self._requests, 1)
        for group in reversed(self._groups):
            for child in group:
                child.request_stop()
            for child in group:
                asked_at = time.monotonic()
                while child.is_running and self._stop_timeout(child, asked) > time.monotonic() - asked_at:
                    self._sleep(0.05)
                if child.is_running:
                    print_error(f"{child.name} did not stop in time and was killed.")
                child.kill()
        self._groups.clear()
        self._record.unlink(missing_ok=True)

    def _stop_timeout(self, child: Child, asked: int) -> float:
        """Return the seconds that a process has for stopping; fewer after a second request."""
        return child.stop_seconds if self._requests <= asked else min(child.stop_seconds, FORCED_STOP_SECONDS)

    def _restart(self, child: Child) -> None:
        """Restart an exited process, with exponential back-off."""
        now = time.monotonic()
        if child.name not in self._due:
            if now - child.started_at > HEALTHY_SECONDS:
                self._failures.pop(child.name, None)
            ended = self._failures[child.name] = self._failures.get(child.name, 0) + 1
            wait = min(0.5 * 2 ** (ended - 1), MAX_BACKOFF_SECONDS)
            self._due[child.name] = now + wait
            print_error(f"{child.exit_message()}; restarting it in {wait:g} s")
        if now < self._due[child.name]:
            return
        del self._due[child.name]
        try:
            child.spawn()
        except Failure as failure:
            print_error(str(failure))
            return
        print_line(f"{child.name} was restarted (pid {child.pid})")
        try:
            self._write_record()
            self.changed()
        except OSError as error:  # a full disk must not stop running processes
            print_error(f"The new process cannot be recorded: {error.strerror} ({error.filename}).")

    def _write_record(self) -> None:
        stale.write_record(self._record, {child.name: child.pid for child in self.children if child.is_running})

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._requests += 1

    def _sleep(self, seconds: float) -> None:
        """Sleep until the time is over or a signal arrives."""
        select.select([self._wake], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake.fileno(), 4096):
                pass
