"""The access log: one JSON line per request, written by a thread that the event loop never waits for.

The event loop queues a tuple; the thread formats the lines and writes several at once. When the disk or the reader of
standard output is too slow, lines are dropped and counted. Several workers append to one file: each write consists of
whole lines, which O_APPEND keeps apart.
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
# How long writing the last lines of a stopping worker may take.
STOP_TIMEOUT_SECONDS = 2.0
WRITE_BYTES = 64 * 1024


class AccessLog:
    """Writes the access log to a file, to standard output for "-", nowhere for ""."""

    def __init__(self, target: str, counters: Counters) -> None:
        self._target = target
        self._counters = counters
        self._entries: deque[LogEntry] = deque()
        # Lines that the thread could not write, and how many of them the event loop has counted.
        self._lost = self._counted_lost = 0
        self._stopping = threading.Event()
        # Set while the thread has something to do, so that it sleeps while there is no traffic.
        self._has_work = threading.Event()
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
        """Write the queued lines, unless that takes too long."""
        if self._thread.is_alive():
            self._stopping.set()
            self._has_work.set()
            self._thread.join(STOP_TIMEOUT_SECONDS)

    def reopen(self) -> None:
        """Reopen the file by its name, because it was rotated."""
        self._wants_reopen = True
        self._has_work.set()

    def record(self, exchange: Exchange, snapshot: TokenSnapshot | None) -> None:
        """Queue the line of a finished exchange; called on the event loop."""
        if not self._target:
            return
        if len(self._entries) < QUEUE_LINES:
            self._entries.append(make_entry(exchange, snapshot))
            if not self._has_work.is_set():
                self._has_work.set()
        else:
            self._counters.add("log_dropped")
        if self._lost != self._counted_lost:
            lost = self._lost
            self._counters.add("log_dropped", by=lost - self._counted_lost)
            self._counted_lost = lost

    def _run(self) -> None:
        is_last = False
        while not is_last:
            if self._has_work.wait(POLL_INTERVAL_SECONDS):
                self._has_work.clear()
                # Lines of this time are written together.
                is_last = self._stopping.wait(WRITE_SECONDS)
            try:
                self._reopen_if_needed()
                for batch in self._batches():
                    self._write(batch)
            except Exception:
                logger.exception("the access log failed; the next lines are tried again")

    def _batches(self) -> Iterator[bytes]:
        """Yield the queued lines in batches that are written at once."""
        batch: list[bytes] = []
        size = 0
        for _ in range(len(self._entries)):
            line = format_entry(self._entries.popleft(), self._process)
            if size + len(line) > self._batch_bytes:
                yield b"".join(batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        if batch:
            yield b"".join(batch)

    def _write(self, batch: bytes) -> None:
        """Append whole lines; lines that cannot be written are dropped and counted."""
        rest = b"\n" + batch if self._has_partial_line else batch
        whole = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self._lost += batch.count(b"\n") if len(rest) == whole else rest.count(b"\n")
            # The next line must not be appended to one that was written in part.
            self._has_partial_line = self._has_partial_line or len(rest) < whole
            self._warn(error)
        else:
            self._has_partial_line = self._is_failing = False

    def _warn(self, error: OSError) -> None:
        if not self._is_failing:
            logger.warning("the access log cannot be written: %s", error.strerror)
        self._is_failing = True

    def _reopen_if_needed(self) -> None:
        """Reopen the file when that was requested, or when the name no longer belongs to the open file."""
        now = time.monotonic()
        if self._target == "-" or not (self._wants_reopen or now - self._checked_at >= POLL_INTERVAL_SECONDS):
            return
        self._checked_at = now
        try:
            if self._wants_reopen or self._was_moved():
                self._wants_reopen = False
                self._open()
        except OSError as error:  # the old file stays open
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
        # Writes to a pipe are atomic only up to this size.
        is_file = stat.S_ISREG(os.fstat(fresh).st_mode)
        self._batch_bytes = WRITE_BYTES if is_file else select.PIPE_BUF
