"""The client's side of a connection: received bytes, output, back-pressure and closing."""

from enum import Enum, auto

from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands

from addon.http1.events import Sockets
from addon.http1.limits import Limits
from addon.http1.messages.receive_buffer import ReceiveBuffer


class Mode(Enum):
    """Whether the client is served."""

    OPEN = auto()
    # The last response was sent; what still comes is discarded for a bounded time.
    LINGERING = auto()
    CLOSED = auto()


class ClientConnection:
    """Sends to one client and controls how it is read; its commands go to the layer's list."""

    __slots__ = ("_client", "_is_congested", "_is_paused", "_out", "_sockets", "has_ended", "mode", "received")

    def __init__(self, client: Client, sockets: Sockets, limits: Limits, out: list[commands.Command]) -> None:
        self._client = client
        self._sockets = sockets
        self._out = out
        self._is_paused = False
        self._is_congested = False
        self.mode = Mode.OPEN
        # The client has ended its side of the connection.
        self.has_ended = False
        self.received = ReceiveBuffer(limits)

    @property
    def is_writable(self) -> bool:
        """Whether this side of the connection is still open."""
        return bool(self._client.state & ConnectionState.CAN_WRITE)

    @property
    def is_lost(self) -> bool:
        """Whether nothing more can be sent to the client."""
        return not self.is_writable or self._sockets.is_lost()

    @property
    def has_unsent_bytes(self) -> bool:
        """Whether the client has not taken everything that was sent."""
        return self._sockets.unsent_bytes() > 0

    def send(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._out.append(commands.SendData(self._client, data))

    def pause(self) -> None:
        """Stop reading from the client."""
        # Also when it is paused already: asyncio's stream reader may have resumed by itself.
        self._is_paused = True
        self._sockets.pause()

    def resume(self) -> None:
        """Read from the client again."""
        if self._is_paused:
            self._is_paused = False
            if not self._is_congested:
                self._sockets.resume()

    def start_congestion(self) -> None:
        """Stop reading from the client: the upstream does not take its bytes."""
        self._is_congested = True
        self._sockets.pause()

    def hold_congestion(self) -> None:
        """Stop reading once more: asyncio's stream reader may have resumed by itself."""
        if self._is_congested:
            self._sockets.pause()

    def stop_congestion(self) -> None:
        """Read from the client again, unless it is paused for another reason."""
        if self._is_congested:
            self._is_congested = False
            if not self._is_paused:
                self._sockets.resume()

    def abort(self) -> None:
        """Reset the connection, so that a client cannot take an incomplete response for a complete one."""
        self._sockets.abort()

    def half_close(self) -> None:
        """End this side of the connection."""
        self._out.append(commands.CloseTcpConnection(self._client, half_close=True))

    def abort_unless_flushed(self) -> None:
        """Abort the closing connection if the client does not take the last bytes in time."""
        self._sockets.abort_unless_flushed()

    def close(self) -> None:
        """Close the connection; what was written to the client is still sent."""
        self.abort_unless_flushed()
        self._out.append(commands.CloseConnection(self._client))
        self.mode = Mode.CLOSED
        self.received.buffer = b""
