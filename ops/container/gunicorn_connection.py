"""Buffered connection between gunicorn's event loop and the thread that handles its request."""

import errno
import select
import socket
import time
from enum import Enum
from typing import Any

from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn

from ops.container.gunicorn_requests import Bounds, RequestBuffer


class Stage(Enum):
    """State of a connection; those with the lowest `worth` are dropped first when there are too many."""

    LINGER = 0
    IDLE = 1
    HEAD = 2
    BODY = 3
    RESPONSE = 4
    WORKING = 5

    @property
    def worth(self) -> int:
        return int(self.value)


class ResponseSocket:
    """Socket for gunicorn's response: buffers what the client does not take, and never reads."""

    def __init__(self, raw: socket.socket, bounds: Bounds) -> None:
        self._raw = raw
        self._bounds = bounds
        self._seconds_left = bounds.response_seconds
        self.pending = bytearray()

    def begin(self) -> None:
        """Reset the time limit for a new response."""
        self._seconds_left = self._bounds.response_seconds

    def sendall(self, data: bytes) -> None:
        """Send or buffer; wait while the buffer is full. Raises BrokenPipeError when that takes too long."""
        self.pending += data
        self.flush()
        while len(self.pending) > self._bounds.response_bytes:
            started = time.monotonic()
            writable = select.poll()
            writable.register(self._raw, select.POLLOUT)
            if not writable.poll(self._seconds_left * 1000):
                raise BrokenPipeError(errno.EPIPE, "the client does not take its response")
            self._seconds_left = max(0.0, self._seconds_left - (time.monotonic() - started))
            self.flush()

    def flush(self) -> int:
        """Send what the client takes now; returns the number of bytes."""
        sent = 0
        while self.pending:
            try:
                count = self._raw.send(memoryview(self.pending)[: 256 * 1024])
            except BlockingIOError:
                break
            del self.pending[:count]
            sent += count
        return sent

    def fileno(self) -> int:
        return self._raw.fileno()

    def recv(self, _size: int) -> bytes:
        """Return nothing: the event loop has read the whole request."""
        return b""

    def gettimeout(self) -> float:
        """Return non-blocking, so that gunicorn does not switch it back and forth."""
        return 0.0

    def setblocking(self, _blocking: bool) -> None:
        """Ignore: the socket stays non-blocking."""

    def settimeout(self, _seconds: float | None) -> None:
        """Ignore: the socket stays non-blocking."""

    def shutdown(self, _how: int) -> None:
        """Ignore: the event loop closes the connection."""

    def close(self) -> None:
        """Ignore: the event loop closes the connection."""


class BufferedConnection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A connection whose requests are read, and whose responses are written, by the event loop."""

    def __init__(self, cfg: Any, raw: socket.socket, client: Any, server: Any, bounds: Bounds) -> None:
        super().__init__(cfg, raw, client, server)
        self.raw = raw
        self.sock = ResponseSocket(raw, bounds)
        self.request = RequestBuffer(bounds)
        self.parser: Any = None
        self.stage = Stage.WORKING
        self.deadline = 0.0
        self.discarded = 0
        self.is_kept = False
        # gunicorn need not wait for data before it starts a thread.
        self.data_ready = True
        self._whole = b""

    @property
    def size(self) -> int:
        """The number of buffered bytes."""
        return len(self.request) + len(self.sock.pending)

    def begin(self, request: bytes) -> None:
        """Prepare for a thread that handles this request."""
        self._whole = request
        self.sock.begin()

    def init(self) -> None:
        """Give the buffered request to gunicorn's parser; called in the thread, once for each request."""
        if self.parser is None:
            self.initialized = True
            self.parser = get_parser(self.cfg, iter(()), self.client)
        self.parser.unreader.unread(self._whole)
        self._whole = b""
