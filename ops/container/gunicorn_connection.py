"""One connection to the portal, as the event loop and the thread that works on its request see it."""

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
    """What a connection waits for; `worth` says which go first when there are too many."""

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
    """What gunicorn writes a response to: it keeps what the client does not take, and reads nothing."""

    def __init__(self, raw: socket.socket, bounds: Bounds) -> None:
        self._raw = raw
        self._bounds = bounds
        self._patience = bounds.response_seconds
        self.pending = bytearray()

    def begin(self) -> None:
        """A new response begins."""
        self._patience = self._bounds.response_seconds

    def sendall(self, data: bytes) -> None:
        """Send, or keep; wait for the client only when too much is kept. Raises BrokenPipeError after that wait."""
        self.pending += data
        self.flush()
        while len(self.pending) > self._bounds.response_bytes:
            started = time.monotonic()
            writable = select.poll()
            writable.register(self._raw, select.POLLOUT)
            if not writable.poll(self._patience * 1000):
                raise BrokenPipeError(errno.EPIPE, "the client does not take its response")
            self._patience = max(0.0, self._patience - (time.monotonic() - started))
            self.flush()

    def flush(self) -> int:
        """Send what the client takes now; returns how much that was."""
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
        """Nothing: the event loop has read the whole request."""
        return b""

    def gettimeout(self) -> float:
        """Never blocking, so that gunicorn does not set it back and forth."""
        return 0.0

    def setblocking(self, _blocking: bool) -> None:
        """Stay as it is."""

    def settimeout(self, _seconds: float | None) -> None:
        """Stay as it is."""

    def shutdown(self, _how: int) -> None:
        """Leave the end to the event loop."""

    def close(self) -> None:
        """Leave the end to the event loop."""


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
        # gunicorn needs not look for data before it lets a thread work.
        self.data_ready = True
        self._whole = b""

    @property
    def size(self) -> int:
        """How many bytes are kept for it."""
        return len(self.request) + len(self.sock.pending)

    def begin(self, request: bytes) -> None:
        """A thread is going to work on this request."""
        self._whole = request
        self.sock.begin()

    def init(self) -> None:
        """Let gunicorn read the request from memory; called in the thread, once for each request."""
        if self.parser is None:
            self.initialized = True
            self.parser = get_parser(self.cfg, iter(()), self.client)
        self.parser.unreader.unread(self._whole)
        self._whole = b""
