"""The portal's gunicorn worker: clients are read and written by its event loop, and threads never wait for one."""

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from ops.container.gunicorn_connection import BufferedConnection, Stage
from ops.container.gunicorn_requests import Bounds, HeadTooLarge

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PLAIN = "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_REQUEST_TIMEOUT = _PLAIN.format("408 Request Timeout").encode()
_TOO_LARGE = _PLAIN.format("431 Request Header Fields Too Large").encode()
_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)
_LINGER_BYTES = 64 * 1024


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's threads behind a buffer of requests and responses, with another end.

    gunicorn's own worker reads a request and writes its response in a thread, which waits for the client without a
    bound: as many clients as there are threads, each with half a request, stop it. Here the event loop collects a
    request until it is whole, a thread works on it, and the event loop writes what the client has not taken by then.

    A worker that stops still holds the listening socket until its last request is over, and accepts nothing from it:
    the kernel goes on completing connections, and resets them at the end. This one takes what waits and closes the
    socket first, so that whoever comes later is refused at once, and the proxy in front asks another machine.
    """

    bounds = Bounds()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A file would be sent past the buffer of the response.
        self.cfg.set("sendfile", False)
        # Connections that wait for their client, in the order in which they began to.
        self._waiting: dict[BufferedConnection, None] = {}

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept, or not; for the last time, with everything that waits."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            self._take_all(listener)
            listener.close()

    def _take_all(self, listener: Any) -> None:
        taken = -1
        while taken < self.nr_conns:
            taken = self.nr_conns
            self.accept(listener)  # takes one, or none

    def accept(self, listener: Any) -> None:
        """Take a new connection; with too many, the one that has kept us waiting longest is dropped."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _NO_MORE_FILES:
                self._drop_longest_waiting()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._drop_longest_waiting()
        connection = BufferedConnection(self.cfg, client, address, listener.getsockname(), self.bounds)
        self._await_request(connection, self.bounds.head_seconds)
        self._receive(connection)

    def _await_request(self, connection: BufferedConnection, seconds: float) -> None:
        self._wait(connection, Stage.IDLE, selectors.EVENT_READ, self._receive, seconds)

    def _receive(self, connection: BufferedConnection) -> None:
        """Read what is here of a request."""
        try:
            data = connection.raw.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        connection.request.feed(data)
        self._advance(connection)

    def _advance(self, connection: BufferedConnection) -> None:
        """Hand a whole request to a thread, or go on collecting it."""
        request = connection.request
        try:
            whole = request.take()
        except HeadTooLarge:
            self._refuse(connection, _TOO_LARGE)
            return
        if whole is not None:
            self._stop_waiting(connection)
            connection.begin(whole)
            self.enqueue_req(connection)
            return
        if request.expects:
            request.expects = False
            connection.sock.sendall(_CONTINUE)
        if request.has_head and connection.stage is not Stage.BODY:
            self._wait(connection, Stage.BODY, selectors.EVENT_READ, self._receive, self.bounds.body_seconds)
        elif connection.stage is Stage.IDLE and request:
            self._wait(connection, Stage.HEAD, selectors.EVENT_READ, self._receive, self.bounds.head_seconds)
        self._keep_within_memory(connection)

    def _refuse(self, connection: BufferedConnection, answer: bytes) -> None:
        self._stop_waiting(connection)
        with contextlib.suppress(OSError):
            connection.raw.send(answer)
        self._linger(connection)

    def finish_request(self, connection: BufferedConnection, future: Any) -> None:
        """A thread is done with a request: send the rest of its response."""
        connection.is_kept = not future.cancelled() and future.exception() is None and bool(future.result())
        self._write(connection)

    def _write(self, connection: BufferedConnection) -> None:
        """Send what the client takes; then take its next request, or close the connection."""
        try:
            sent = connection.sock.flush()
        except OSError:
            self._drop(connection)
            return
        if connection.sock.pending:
            if sent or connection.stage is not Stage.RESPONSE:
                seconds = self.bounds.response_seconds
                self._wait(connection, Stage.RESPONSE, selectors.EVENT_WRITE, self._write, seconds)
                self._keep_within_memory(connection)
        elif connection.is_kept:
            self._await_request(connection, self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
            if connection.request:
                self._advance(connection)  # the next request came with this one
        else:
            self._linger(connection)

    def _linger(self, connection: BufferedConnection) -> None:
        """Send no more, and discard what comes for a while: a reset could destroy the response (RFC 9112, 9.6)."""
        try:
            connection.raw.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
        else:
            self._wait(connection, Stage.LINGER, selectors.EVENT_READ, self._discard, self.bounds.linger_seconds)

    def _discard(self, connection: BufferedConnection) -> None:
        try:
            data = connection.raw.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.discarded += len(data)
        if not data or connection.discarded > _LINGER_BYTES:
            self._drop(connection)

    def _wait(
        self,
        connection: BufferedConnection,
        stage: Stage,
        event: int,
        callback: Callable[[BufferedConnection], None],
        seconds: float,
    ) -> None:
        """Let the event loop call back when the client can be read or written."""
        self._stop_waiting(connection)
        connection.stage, connection.deadline = stage, time.monotonic() + seconds
        self._waiting[connection] = None
        self.poller.register(connection.raw, event, lambda _: callback(connection))

    def _stop_waiting(self, connection: BufferedConnection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self.poller.unregister(connection.raw)
        connection.stage = Stage.WORKING

    def _drop(self, connection: BufferedConnection) -> None:
        self._stop_waiting(connection)
        connection.raw.close()
        self.nr_conns -= 1

    def _drop_longest_waiting(self) -> None:
        """Make room: an idle connection goes before one with half a request, and the oldest of each kind first."""
        longest = min(self._waiting, key=lambda each: each.stage.worth, default=None)
        if longest is not None:
            self._drop(longest)

    def _keep_within_memory(self, grown: BufferedConnection) -> None:
        """Bound what is kept for all clients together; as many small ones as there may be connections do not matter."""
        if grown.size <= self.bounds.small_bytes:
            return
        while sum(connection.size for connection in self._waiting) > self.bounds.all_bytes:
            self._drop(max(self._waiting, key=lambda each: each.size))

    def murder_pending(self) -> None:
        """End the connections whose clients have taken too long; gunicorn calls this once a second."""
        now = time.monotonic()
        for connection in [each for each in self._waiting if each.deadline <= now]:
            if connection.stage in (Stage.HEAD, Stage.BODY):
                self._refuse(connection, _REQUEST_TIMEOUT)
            else:
                self._drop(connection)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close every connection that waits for its client when the worker has to end."""
        for connection in list(self._waiting) if force else ():
            self._drop(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """Close idle connections early when the worker stops."""
        for connection in self._waiting:
            if connection.stage is Stage.IDLE:
                connection.deadline = min(connection.deadline, deadline)
