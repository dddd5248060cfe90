"""The layer's one kept connection to the upstream, plain or TLS."""

from enum import Enum, auto

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.layers.tls import ServerTLSLayer

from addon.http1.connection.events import Sockets
from addon.http1.upstream import Address, Upstream


class State(Enum):
    """Whether the connection can be used."""

    CLOSED = auto()
    CONNECTING = auto()
    OPEN = auto()


def not_blocking[C: commands.Command](command: C, owner: Layer) -> C:
    """Mark a command that expects an answer as one for which no layer above its owner has to wait."""
    # mitmproxy declares it as `bool | Layer` on the base class, and as a plain bool on its subclasses.
    command.blocking = owner
    return command


class _Write(events.Event):
    """Bytes for the TLS layer to encrypt."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class _Inside(Layer):
    """The TLS layer's child: collects what was decrypted, and passes on what is to be encrypted."""

    def __init__(self, context: Context, server: Server) -> None:
        super().__init__(context)
        self.server = server
        self.received: list[events.Event] = []

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield not_blocking(commands.OpenConnection(self.server), self)
        elif isinstance(event, _Write):
            yield commands.SendData(self.server, event.data)
        else:
            self.received.append(event)


class UpstreamConnection:
    """Opens, keeps and closes the upstream connection; its commands go to the layer's list.

    It never blocks the layer: a closed client, an abort and a deadline take effect while it connects.
    """

    def __init__(self, owner: Layer, out: list[commands.Command], sockets: Sockets) -> None:
        self._owner = owner
        self._context = owner.context
        self._out = out
        self._sockets = sockets
        self._tls: ServerTLSLayer | None = None
        self._inside: _Inside | None = None
        self.state = State.CLOSED
        self.server: Server | None = None
        self.upstream: Upstream | None = None
        self.address: Address | None = None
        # Whose requests it carries: a late byte of one user's response must not be read as another user's response.
        self.user_id = ""
        # Whether a request was sent on it before: the upstream may be about to close it.
        self.used = False

    def fits(self, upstream: Upstream, user_id: str) -> bool:
        """Whether the connection is open and may carry a request of this user to this upstream."""
        return self.state is State.OPEN and self.upstream is upstream and self.user_id == user_id

    def open(self, upstream: Upstream, address: Address, user_id: str) -> None:
        """Begin to connect for one user; any connection before it is closed."""
        self.close()
        server = Server(address=address)
        self.server, self.upstream, self.address, self.user_id = server, upstream, address, user_id
        self.state, self.used = State.CONNECTING, False
        if upstream.tls:
            server.sni = upstream.sni or address[0]
            context = self._context.fork()
            context.server = server
            self._tls = ServerTLSLayer(context, server)
            self._tls.child_layer = self._inside = _Inside(context, server)
            self._out.extend(self._tls.handle_event(events.Start()))
        else:
            self._out.append(not_blocking(commands.OpenConnection(server), self._owner))

    def translate(self, event: events.Event) -> list[events.Event]:
        """Pass an event through TLS and return the events in plain text; close a former connection that sends."""
        if isinstance(event, events.ConnectionEvent):
            if event.connection is not self.server:
                if event.connection.state is not ConnectionState.CLOSED:
                    self._out.append(commands.CloseConnection(event.connection))
                return []
            if self._tls is None:
                return [event]
        elif isinstance(event, events.OpenConnectionCompleted):
            if event.command.connection is not self.server:
                if event.reply is None:
                    self._out.append(commands.CloseConnection(event.command.connection))
                return []
            if self._tls is None:
                return [event]
        if self._tls is None or self._inside is None:
            return []
        self._out.extend(self._tls.handle_event(event))
        received, self._inside.received = self._inside.received, []
        return received

    def send(self, data: bytes) -> None:
        """Send bytes to the upstream."""
        if self.server is None:
            return
        if self._tls is None:
            self._out.append(commands.SendData(self.server, data))
        else:
            self._out.extend(self._tls.handle_event(_Write(data)))

    def half_close(self) -> None:
        """End this side of the connection."""
        if self.server is not None and self.server.state & ConnectionState.CAN_WRITE:
            self._out.append(commands.CloseTcpConnection(self.server, half_close=True))

    @property
    def has_unsent_bytes(self) -> bool:
        """Whether the upstream has not taken everything that was sent."""
        return self.server is not None and self._sockets.unsent_bytes(self.server) > 0

    def keep_readable(self) -> None:
        """Keep what the upstream sends readable if it resets the connection during an upload."""
        if self.server is not None:
            self._sockets.keep_readable(self.server)

    def drop_readable(self) -> None:
        """The upload is over: undo `keep_readable`."""
        self._sockets.drop_readable()

    def abort(self) -> None:
        """Reset the connection."""
        if self.server is not None:
            self._sockets.abort(self.server)

    def close(self) -> None:
        """Close the connection, in whatever state it is."""
        self._sockets.drop_readable()
        if self.server is not None:
            self._sockets.abort_unless_flushed(self.server)
            self._out.append(commands.CloseConnection(self.server))
        self.server = self._tls = self._inside = None
        self.state = State.CLOSED
