"""What the launcher says to the person at the terminal. Needs only the standard library of Python 3.9."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType

HEARTBEAT_SECONDS = 15


class Failure(Exception):
    """One clear sentence for the person at the terminal; the command ends with it and a non-zero code."""


def print_line(line: str = "") -> None:
    """Print one line at once. A terminal that has gone away must not stop what is running."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def print_error(line: str) -> None:
    """Print one line to the error stream, under the same rule."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class Step:
    """One step of a long job: its name is shown while it runs and its seconds when it is done.

    On a terminal the line is rewritten in place; in a log the step gets a line of its own every 15 seconds.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.note = ""
        self._live = sys.stdout.isatty()
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> Step:
        self.tick()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._began
        outcome = "" if kind is None else "stopped after "
        self._clear()
        print_line(f"  {self.name:<44} {outcome}{seconds:5.1f} s")

    def tick(self, note: str = "") -> None:
        """Show that the step is alive; `note` says how far it has come."""
        self.note = note or self.note
        now = time.monotonic()
        text = f"  {self.name} {self.note} ({now - self._began:.0f} s)".replace("  (", " (")
        if self._live:
            self._clear()
            self._write(text)
        elif now - self._shown >= HEARTBEAT_SECONDS:
            self._shown = now
            print_line(text + " ...")

    def _clear(self) -> None:
        if self._live:
            self._write("\r\033[K")

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stdout.write(text)
            sys.stdout.flush()
