"""gunicorn worker of the portal: its event loop reads requests and writes responses; threads never wait for clients."""

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
    """gthread worker with buffered requests and responses, and a graceful stop.

    gunicorn's own worker reads a request and writes its response in a thread, which waits for the client without a
    limit: as many slow clients as there are threads block it. Here the event loop collects a complete request, a thread
    handles it, and the event loop writes what the client has not taken by then.

    gunicorn's own worker also keeps the listening socket open until its last request is over without accepting: the
    kernel completes connections and resets them at the end. This worker accepts the pending connections and closes
    the socket first, so new connections are refused at once and the proxy in front retries another instance.
    """

    bounds = Bounds()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # sendfile would bypass the response buffer.
        self.cfg.set("sendfile", False)
        # Connections that wait for their client, oldest first.
        self._waiting: dict[BufferedConnection, None] = {}

    def set_accept_enabled(self, enabled: bool) -> None:
        """Turn accepting on or off; when stopping, accept all pending connections and close the sockets."""
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
        """Accept a connection; with too many, the one that has waited longest is dropped."""
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
        """Read the available bytes of a request."""
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
        """Hand a complete request to a thread, or continue to collect it."""
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
        """Send the rest of a response after its thread has finished."""
        connection.is_kept = not future.cancelled() and future.exception() is None and bool(future.result())
        self._write(connection)

    def _write(self, connection: BufferedConnection) -> None:
        """Send what the client takes; then read its next request, or close the connection."""
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
                self._advance(connection)  # a pipelined request
        else:
            self._linger(connection)

    def _linger(self, connection: BufferedConnection) -> None:
        """Stop sending, and discard input for a while: a reset could destroy the response (RFC 9112, 9.6)."""
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
        """Call back when the client's socket is readable or writable."""
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
        """Drop the least valuable connection: idle before half a request, and the oldest of each kind first."""
        longest = min(self._waiting, key=lambda each: each.stage.worth, default=None)
        if longest is not None:
            self._drop(longest)

    def _keep_within_memory(self, grown: BufferedConnection) -> None:
        """Limit the total size of the buffers; small buffers are limited by the number of connections."""
        if grown.size <= self.bounds.small_bytes:
            return
        while sum(connection.size for connection in self._waiting) > self.bounds.all_bytes:
            self._drop(max(self._waiting, key=lambda each: each.size))

    def murder_pending(self) -> None:
        """Close connections whose time limit has passed; gunicorn calls this once a second."""
        now = time.monotonic()
        for connection in [each for each in self._waiting if each.deadline <= now]:
            if connection.stage in (Stage.HEAD, Stage.BODY):
                self._refuse(connection, _REQUEST_TIMEOUT)
            else:
                self._drop(connection)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close all waiting connections when the worker has to exit."""
        for connection in list(self._waiting) if force else ():
            self._drop(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """Close idle connections early when the worker stops."""
        for connection in self._waiting:
            if connection.stage is Stage.IDLE:
                connection.deadline = min(connection.deadline, deadline)
