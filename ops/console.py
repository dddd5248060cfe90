"""Terminal output of the commands: lines, errors and progress. Needs only the standard library of Python 3.9."""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType

HEARTBEAT_SECONDS = 15


class Failure(Exception):
    """An error that ends a command: its message is printed and the exit code is not zero."""


def print_line(line: str = "") -> None:
    """Print one line and flush. A closed terminal must not stop the program."""
    with contextlib.suppress(OSError):
        print(line, flush=True)


def print_error(line: str) -> None:
    """Print one line to standard error, as `print_line` does."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class Step:
    """One step of a long command: its name is shown while it runs, and its seconds when it is done.

    On a terminal the line is updated in place; in a log a line is written every 15 seconds.
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
        """Show that the step is running; `note` is its progress."""
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
