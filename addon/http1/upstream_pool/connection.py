"""One connection to the upstream: bytes in and out, plain or TLS, on behalf of the exchange that holds it."""

import asyncio
import contextlib
import logging
import os
import select
import socket
import ssl
import struct
from enum import Enum, auto
from typing import Protocol, cast

from addon.http1.upstream import Address, Upstream
from addon.http1.upstream_pool.tls import TlsStream

logger = logging.getLogger(__name__)

_RESET = struct.pack("ii", 1, 0)
_MAX_UNREAD_BYTES = 1024 * 1024
# All connections of a process read into one buffer: a read is consumed before the next one begins.
_BUFFER = memoryview(bytearray(65536))


class State(Enum):
    """The life of a connection."""

    # It waits until the address has room for one more.
    QUEUED = auto()
    CONNECTING = auto()
    # TCP is connected, the TLS handshake is under way.
    HANDSHAKE = auto()
    # An exchange holds it.
    OPEN = auto()
    # It waits in the pool for its next exchange.
    IDLE = auto()
    CLOSED = auto()


class Owner(Protocol):
    """The exchange that holds a connection. Calls come from the event loop, never from within a call of the owner's."""

    def connection_progressed(self, connection: "UpstreamConnection") -> None:
        """The connection has left the queue, or TCP is connected and the TLS handshake has begun."""

    def connection_opened(self, connection: "UpstreamConnection") -> None:
        """Requests can be sent; after waiting in the queue, possibly on another connection than the one asked for."""

    def connection_failed(self, connection: "UpstreamConnection") -> None:
        """The connection could not be opened."""

    def data_received(self, connection: "UpstreamConnection", data: bytes) -> None:
        """Bytes were received, decrypted if need be."""

    def connection_ended(self, connection: "UpstreamConnection", *, is_lost: bool) -> None:
        """The upstream has ended its side, or the connection is lost (reset, for instance)."""

    def writing_paused(self, *, is_paused: bool) -> None:
        """The upstream does not take what is sent, or takes it again: reading from the client stops or goes on."""


class Cancelable(Protocol):
    """An attempt to connect."""

    def cancel(self) -> object:
        """Stop it."""


class Reports(Protocol):
    """What the pool takes from its connections."""

    def opened(self, connection: "UpstreamConnection") -> None:
        """The connection is open."""

    def failed(self, connection: "UpstreamConnection", reason: str) -> None:
        """It could not be opened."""

    def close(self, connection: "UpstreamConnection", reason: str) -> None:
        """It was idle and cannot be used again."""


class UpstreamConnection(asyncio.BufferedProtocol):
    """A connection to one address of the upstream, used for the requests of one user."""

    def __init__(
        self, pool: Reports, owner: Owner, upstream: Upstream, address: Address, *, user_id: str, now: float
    ) -> None:
        self._pool = pool
        self.upstream = upstream
        self.address = address
        self.user_id = user_id
        # None while it is idle or closed.
        self.owner: Owner | None = owner
        self.tls: TlsStream | None = None
        self.transport: asyncio.Transport | None = None
        self.state = State.QUEUED
        self.dialing: Cancelable | None = None
        self.asked_at = now
        self.opened_at = 0.0
        self.idle_since = 0.0
        self.requests = 0
        # The pool's generation when it was opened: TLS settings may have changed since.
        self.generation = 0
        # Authentication of the upstream that holds for the connection (NTLM, Negotiate): it stays with its client.
        self.is_bound = False
        self._has_ended = False
        self._poll: select.poll | None = None

    # What the owner calls.

    def send(self, data: bytes) -> None:
        """Send bytes."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self.tls is None:
            transport.write(data)
        else:
            self.tls.encrypt(data)
            transport.write(self.tls.take_outgoing())

    @property
    def has_unsent_bytes(self) -> bool:
        """Whether the upstream has not taken everything that was sent."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    def half_close(self) -> None:
        """End this side of the connection once everything is sent."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self.tls is not None:
            transport.write(self.tls.end())
        transport.write_eof()

    def pause_reading(self) -> None:
        """Read nothing more: the client does not take what it is sent."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def shut(self, *, is_reset: bool = False) -> None:
        """Close the connection; the pool has removed it. Unsent bytes belong to a canceled request and are dropped."""
        self.state, self.owner = State.CLOSED, None
        if self.dialing is not None:
            self.dialing.cancel()
        transport = self.transport
        if transport is None:
            return
        if is_reset:
            with contextlib.suppress(OSError):
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if is_reset or transport.get_write_buffer_size():
            transport.abort()
            return
        if self.tls is not None and self.tls.is_ready and not transport.is_closing():
            transport.write(self.tls.end())
        transport.close()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come on an idle connection that was not read yet: neither bytes nor its end."""
        if self.transport is None or self.transport.is_closing():
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is connected: begin the TLS handshake, or report the connection as open."""
        self.transport = cast(asyncio.Transport, transport)
        if self.state is State.CLOSED:
            self.transport.abort()
        elif self.tls is None:
            self._open()
        else:
            self.state = State.HANDSHAKE
            self.tls.handshake()
            self.transport.write(self.tls.take_outgoing())
            if self.owner is not None:
                self.owner.connection_progressed(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next read."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes that were read."""
        self.receive(bytes(_BUFFER[:nbytes]))

    def receive(self, data: bytes) -> None:
        """Pass on received bytes; on an idle connection, any byte ends it (RFC 9112, 9.2)."""
        if self.state is State.CLOSED:
            return
        if self.tls is not None:
            try:
                data = self._decrypt(self.tls, data)
            except ssl.SSLError as error:
                self._break(f"TLS: {error.reason or error}")
                return
        if data:
            if self.owner is None:
                self._pool.close(self, "surplus")
            else:
                self.owner.data_received(self, data)
        if self.tls is not None and self.tls.has_ended:
            self.eof_received()

    def _decrypt(self, tls: TlsStream, data: bytes) -> bytes:
        was_ready = tls.is_ready
        data = tls.receive(data)
        outgoing = tls.take_outgoing()
        if outgoing and self.transport is not None:
            self.transport.write(outgoing)
        if tls.is_ready and not was_ready:
            self._open()
        return data

    def _open(self) -> None:
        self.state = State.OPEN
        self._pool.opened(self)

    def _break(self, reason: str) -> None:
        """Report a fault, in whatever state the connection is."""
        if self.state is State.CLOSED:
            return
        if self.state in (State.CONNECTING, State.HANDSHAKE):
            self._pool.failed(self, reason)
        elif self.owner is None:
            self._pool.close(self, "upstream")
        else:
            self.owner.connection_ended(self, is_lost=True)

    def eof_received(self) -> bool:
        """The upstream has ended its side; this one stays open until it is closed."""
        if self.state is State.CLOSED or self._has_ended:
            return True
        self._has_ended = True
        if self.state is State.OPEN and self.owner is not None:
            self.owner.connection_ended(self, is_lost=False)
        else:
            self._break("the upstream closed the connection")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is about to be closed."""
        if self.state is State.CLOSED:
            return
        # A server that refuses an upload responds and closes; sending the rest of the upload then meets a reset
        # (RFC 9112, 9.5 and 9.6). The response is in the socket's buffer still.
        if self.state is State.OPEN and self.owner is not None:
            for data in self._read_unread():
                self.receive(data)
        self._break(str(exc or "the connection was closed"))

    def _read_unread(self) -> list[bytes]:
        found, length = [], 0
        with contextlib.suppress(OSError, ValueError, AttributeError):
            number = self.transport.get_extra_info("socket").fileno() if self.transport is not None else -1
            with socket.socket(fileno=os.dup(number)) as unread:
                unread.setblocking(False)
                while length < _MAX_UNREAD_BYTES and (data := unread.recv(65536)):
                    found.append(data)
                    length += len(data)
        return found

    def pause_writing(self) -> None:
        """The upstream does not take what it is sent."""
        if self.owner is not None:
            self.owner.writing_paused(is_paused=True)

    def resume_writing(self) -> None:
        """The upstream takes bytes again."""
        if self.owner is not None:
            self.owner.writing_paused(is_paused=False)
