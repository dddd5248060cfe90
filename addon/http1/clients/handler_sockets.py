"""Socket control behind one mitmproxy connection handler: back-pressure, resets, events."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from mitmproxy.proxy.events import Event
from mitmproxy.proxy.server import ConnectionHandler

_RESET = struct.pack("ii", 1, 0)
_tasks: set[asyncio.Task[None]] = set()


class ClosingTransports:
    """Transports that are being closed and still have bytes to send."""

    def __init__(self) -> None:
        self._transports: list[tuple[float, asyncio.WriteTransport]] = []

    def add(self, transport: asyncio.WriteTransport, until: float) -> None:
        """Abort a transport at this time unless it has sent its bytes by then."""
        self._transports.append((until, transport))

    def sweep(self, now: float) -> None:
        """Remove the transports that are flushed, abort those whose time is up."""
        waiting = [(until, it) for until, it in self._transports if it.get_write_buffer_size()]
        for _, transport in [entry for entry in waiting if entry[0] <= now]:
            transport.abort()
        self._transports = [entry for entry in waiting if entry[0] > now]


class HandlerSockets:
    """The `Sockets` of one connection handler; also delivers events to its layers."""

    def __init__(self, handler: ConnectionHandler, abort_later: Callable[[asyncio.WriteTransport], None]) -> None:
        self._handler = handler
        self._abort_later = abort_later
        self.client_id = handler.client.id
        self.fileno = int(self._transport().get_extra_info("socket").fileno())

    def _transport(self) -> Any:
        # Any: mitmproxy also has UDP streams, which have no transport and are never used here.
        io = self._handler.transports.get(self._handler.client)
        writer = io.writer if io is not None else None
        return None if writer is None else getattr(writer, "transport", None)

    def pause(self) -> None:
        """Stop reading from the client."""
        transport = self._transport()
        if transport is not None and not transport.is_closing():
            transport.pause_reading()

    def resume(self) -> None:
        """Read from the client again."""
        transport = self._transport()
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def abort(self) -> None:
        """Reset a connection; its unsent bytes are dropped."""
        transport = self._transport()
        if transport is None:
            return
        # Without a reset the peer would see an orderly end, and take an incomplete response for a complete one.
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def unsent_bytes(self) -> int:
        """Return how many bytes the peer has not taken yet."""
        transport = self._transport()
        return 0 if transport is None else int(transport.get_write_buffer_size())

    def is_lost(self) -> bool:
        """Return whether the connection was lost."""
        transport = self._transport()
        return transport is None or bool(transport.is_closing())

    def abort_unless_flushed(self) -> None:
        """Abort the connection after `flush_seconds` if its last bytes were not taken."""
        transport = self._transport()
        if transport is not None:
            self._abort_later(transport)

    def is_congested(self) -> bool:
        """Return whether the transport holds more than its high-water mark."""
        transport = self._transport()
        if transport is None:
            return False
        return bool(transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1])

    def when_drained(self, resume: Callable[[], None]) -> None:
        """Call `resume` once the transport holds less than its low-water mark, or is closed."""
        io = self._handler.transports.get(self._handler.client)
        if io is None or io.writer is None:
            resume()
            return
        self._keep(asyncio.get_running_loop().create_task(_resume_after_drain(io.writer, resume)))

    def deliver(self, event: Event) -> None:
        """Deliver an event to the handler's layers."""
        self._keep(asyncio.get_running_loop().create_task(self._handler.server_event(event)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    def close(self) -> None:
        """Close the client's connection at the handler."""
        client = self._handler.client
        io = self._handler.transports.get(client)
        if io is not None and io.handler is not None:
            self._handler.close_connection(client)


async def _resume_after_drain(writer: Any, resume: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        await writer.drain()
    resume()
