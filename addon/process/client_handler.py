"""One client connection of a worker: the socket, mitmproxy's layers above it, and the sockets' control for them.

mitmproxy's own handler (`mitmproxy.proxy.server`) costs three tasks, a stream reader and writer, and a walk through all
addons for each connection; docs/adr/0011-client-handler.md has the figures. `entry.py` still runs behind it.
"""

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from mitmproxy.connection import Client, ConnectionState, Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer

from addon.http1.connection.layer import Http1Layer
from addon.process.handler_context import HandlerContext
from addon.process.proxy_protocol import ProxyHeaderError, parse_proxy_header

logger = logging.getLogger(__name__)

_RESET = struct.pack("ii", 1, 0)
# All connections of a process read into one buffer: a read is consumed before the next one begins.
_BUFFER = memoryview(bytearray(65536))


# The pool opens the upstream connections; mitmproxy's layers know of none.
_NO_SERVER = Server(address=None)


class _Context(Context):
    """mitmproxy's context, without a server object for each connection."""

    def __init__(self, client: Client, options: Options) -> None:
        self.client, self.server, self.options, self.layers = client, _NO_SERVER, options, []


class ClientHandler(asyncio.BufferedProtocol):
    """Passes events to the layers and obeys their commands; also the `Sockets` of the HTTP layer."""

    __slots__ = (
        "_client",
        "_events",
        "_handle",
        "_header",
        "_is_busy",
        "_is_congested",
        "_layer",
        "_resuming",
        "_shared",
        "_timer",
        "_transport",
        "client_id",
        "fileno",
    )
    _client: Client
    _transport: asyncio.Transport
    _handle: Callable[[events.Event], Iterable[commands.Command]]

    def __init__(self, handlers: HandlerContext) -> None:
        self._shared = handlers
        self._layer: Layer | None = None
        self._events: deque[events.Event] = deque()
        self._is_busy = False
        self._is_congested = False
        self._resuming: list[Callable[[], None]] = []
        # What was received of a PROXY header; None when none is expected, or no more.
        self._header: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.client_id = ""
        self.fileno = -1

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if peer is None:  # It has gone already.
            self._transport.abort()
        elif self._shared.expects_proxy_header(peer[0]):
            self._header = b""
            seconds = self._shared.http1.worker_context.limits.head_seconds
            self._timer = asyncio.get_running_loop().call_later(seconds, self._refuse_header, "it did not come in time")
        else:
            self._begin(peer)

    def _begin(self, peer: tuple[Any, ...]) -> None:
        transport = self._transport
        self.fileno = transport.get_extra_info("socket").fileno()
        self._client = client = Client(
            peername=peer,
            sockname=transport.get_extra_info("sockname"),
            timestamp_start=time.time(),
            state=ConnectionState.OPEN,
        )
        self.client_id = client.id
        if not self._shared.http1.accept(client, self):
            transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Return the buffer for the next read."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes that were read."""
        data = bytes(_BUFFER[:nbytes])
        if self._header is not None:
            data = self._read_header(self._header + data)
            if not data:
                return
        if not self.client_id or self._transport.is_closing():
            return
        if self._layer is None:
            context = _Context(self._client, self._shared.master.options)
            self._layer = layer = self._shared.http1.first_layer(context)
            # Nothing blocks the HTTP layer, so that it needs no generator that could be suspended.
            self._handle = layer.handle if isinstance(layer, Http1Layer) else layer.handle_event
            self.deliver(events.Start())
        self.deliver(events.DataReceived(self._client, data))

    def _read_header(self, data: bytes) -> bytes:
        """Take the PROXY header; return the bytes behind it."""
        try:
            header = parse_proxy_header(data)
        except ProxyHeaderError as error:
            self._refuse_header(str(error))
            return b""
        self._header = data
        if header is None:
            return b""
        self._header = None
        if self._timer is not None:
            self._timer.cancel()
        self._begin(header.address or self._transport.get_extra_info("peername"))
        return data[header.length :]

    def _refuse_header(self, reason: str) -> None:
        logger.warning("a connection was closed before its first request: %s", reason)
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()

    def eof_received(self) -> bool:
        """The client has ended its side; this one stays open until the layer closes it."""
        if self._layer is None:
            return False
        self._client.state &= ~ConnectionState.CAN_READ
        self.deliver(events.ConnectionClosed(self._client))
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.client_id:
            return
        self._client.state = ConnectionState.CLOSED
        self._client.timestamp_end = time.time()
        if self._layer is not None:
            self.deliver(events.ConnectionClosed(self._client))
        self._shared.http1.client_disconnected(self._client)
        self._resume()

    def pause_writing(self) -> None:
        """The client does not take what it is sent."""
        self._is_congested = True

    def resume_writing(self) -> None:
        """The client takes bytes again."""
        self._resume()

    def _resume(self) -> None:
        self._is_congested = False
        resuming, self._resuming = self._resuming, []
        for resume in resuming:
            resume()

    # Events and commands of the layers.

    def deliver(self, event: events.Event) -> None:
        """Pass an event to the layers, now or after the one that is being handled."""
        if self._layer is None:
            return
        self._events.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._events:
                for command in self._handle(self._events.popleft()):
                    self._obey(command)
        except Exception:
            logger.exception("a layer failed; the connection is closed")
            self._events.clear()
            self._transport.abort()
        finally:
            self._is_busy = False

    def _obey(self, command: commands.Command) -> None:
        transport = self._transport
        if isinstance(command, commands.SendData):
            if not transport.is_closing():
                transport.write(command.data)
        elif isinstance(command, commands.StartHook):
            self._shared.run(self._run_hook(command))
        elif isinstance(command, commands.CloseTcpConnection) and command.half_close:
            if self._client.state & ConnectionState.CAN_WRITE and not transport.is_closing():
                transport.write_eof()
            self._client.state &= ~ConnectionState.CAN_WRITE
        elif isinstance(command, commands.CloseConnection):
            self._client.state = ConnectionState.CLOSED
            transport.close()
        elif isinstance(command, commands.Log):
            logger.log(command.level, command.message)
        else:
            raise TypeError(f"the layers asked for {command}")

    async def _run_hook(self, hook: commands.StartHook) -> None:
        await self._shared.run_hook(hook)
        if hook.blocking:
            self.deliver(events.HookCompleted(hook))

    # Control of the socket: `Sockets`, and `ClientHandler` of the registry.

    def pause(self) -> None:
        """Stop reading from the client."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read from the client again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Reset the connection; its unsent bytes are dropped."""
        # Without a reset the peer would see an orderly end, and take an incomplete response for a complete one.
        with contextlib.suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def unsent_bytes(self) -> int:
        """Return how many bytes the client has not taken yet."""
        return self._transport.get_write_buffer_size()

    def is_lost(self) -> bool:
        """Return whether the connection was lost."""
        return self._transport.is_closing()

    def abort_unless_flushed(self) -> None:
        """Abort the connection after some time if its last bytes were not taken."""
        self._shared.http1.abort_unless_flushed(self._transport)

    def is_congested(self) -> bool:
        """Return whether the transport holds more than its high-water mark."""
        return self._is_congested

    def when_drained(self, resume: Callable[[], None]) -> None:
        """Call `resume` once the transport holds less than its low-water mark, or is closed."""
        self._resuming.append(resume)

    def close(self) -> None:
        """Close a connection that has sent nothing."""
        self._transport.close()
