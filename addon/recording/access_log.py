"""The access log: one JSON line for each request, written by a thread that the loop never waits for.

The loop hands over a tuple; the thread makes the lines and writes several at once. When the disk or the reader of
standard output is too slow, lines are dropped and counted. Several workers append to one file: each write is whole
lines, and O_APPEND keeps them apart.
"""

import contextlib
import logging
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator

from addon.http1.exchange import Exchange
from addon.recording.access_log_format import LogEntry, format_entry, make_entry
from addon.recording.counters import Counters
from models.services.gateway.token_lookup import TokenSnapshot

logger = logging.getLogger(__name__)

QUEUE_LINES = 20_000
WRITE_SECONDS = 0.1
POLL_INTERVAL_SECONDS = 1.0
# How long the last lines of a stopping worker may take.
STOP_TIMEOUT_SECONDS = 2.0
WRITE_BYTES = 64 * 1024


class AccessLog:
    """Where requests are written down: a file, standard output for "-", nowhere for ""."""

    def __init__(self, target: str, counters: Counters) -> None:
        self._target = target
        self._counters = counters
        self._entries: deque[LogEntry] = deque()
        # Lines that the thread could not write, and how many of them the loop has counted.
        self._lost = self._counted_lost = 0
        self._stopping = threading.Event()
        self._wants_reopen = False
        self._is_failing = False
        self._file = -1
        self._batch_bytes = WRITE_BYTES
        self._has_partial_line = False
        self._checked_at = 0.0
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)

    def start(self) -> None:
        """Open the log. Raises OSError when it cannot be opened."""
        if self._target:
            self._open()
            self._thread.start()

    def stop(self) -> None:
        """Write what is left, unless that takes too long."""
        if self._thread.is_alive():
            self._stopping.set()
            self._thread.join(STOP_TIMEOUT_SECONDS)

    def reopen(self) -> None:
        """The file was moved away: write to a new one of its name from now on."""
        self._wants_reopen = True

    def record(self, exchange: Exchange, snapshot: TokenSnapshot | None) -> None:
        """Write down an exchange that is over; called on the loop."""
        if not self._target:
            return
        if len(self._entries) < QUEUE_LINES:
            self._entries.append(make_entry(exchange, snapshot))
        else:
            self._counters.add("log_dropped")
        if self._lost != self._counted_lost:
            lost = self._lost
            self._counters.add("log_dropped", by=lost - self._counted_lost)
            self._counted_lost = lost

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stopping.wait(WRITE_SECONDS)
            try:
                self._reopen_if_needed()
                for piece in self._batches():
                    self._write(piece)
            except Exception:
                logger.exception("the access log failed; it goes on")

    def _batches(self) -> Iterator[bytes]:
        """Yield what waits, in pieces of whole lines that are written at once."""
        piece: list[bytes] = []
        size = 0
        for _ in range(len(self._entries)):
            line = format_entry(self._entries.popleft(), self._process)
            if size + len(line) > self._batch_bytes:
                yield b"".join(piece)
                piece, size = [], 0
            piece.append(line)
            size += len(line)
        if piece:
            yield b"".join(piece)

    def _write(self, piece: bytes) -> None:
        """Append whole lines; those that cannot be written are lost, and counted."""
        rest = b"\n" + piece if self._has_partial_line else piece
        whole = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self._lost += piece.count(b"\n") if len(rest) == whole else rest.count(b"\n")
            # A line of which a part was written must not run into the next one.
            self._has_partial_line = self._has_partial_line or len(rest) < whole
            self._warn(error)
        else:
            self._has_partial_line = self._is_failing = False

    def _warn(self, error: OSError) -> None:
        if not self._is_failing:
            logger.warning("the access log cannot be written: %s", error.strerror)
        self._is_failing = True

    def _reopen_if_needed(self) -> None:
        """Open the file anew when somebody asks for it, or when its name is no longer that of our file."""
        now = time.monotonic()
        if self._target == "-" or not (self._wants_reopen or now - self._checked_at >= POLL_INTERVAL_SECONDS):
            return
        self._checked_at = now
        try:
            if self._wants_reopen or self._was_moved():
                self._wants_reopen = False
                self._open()
        except OSError as error:  # the old file is as good as none, but better
            self._warn(error)

    def _was_moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._target), os.fstat(self._file))
        except FileNotFoundError:
            return True

    def _open(self) -> None:
        if self._target == "-":
            fresh = os.dup(sys.stdout.fileno())
        else:
            fresh = os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        old, self._file = self._file, fresh
        with contextlib.suppress(OSError):
            os.close(old)
        self._has_partial_line = False
        # What is written to a pipe at once stays together only up to this size.
        is_file = stat.S_ISREG(os.fstat(fresh).st_mode)
        self._batch_bytes = WRITE_BYTES if is_file else select.PIPE_BUF
