"""The parts of a connection without a layer around them: what they send stays in a list of commands."""

from mitmproxy.connection import Client, Connection, ConnectionState
from mitmproxy.options import Options
from mitmproxy.proxy import commands
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import Event
from mitmproxy.proxy.layer import CommandGenerator, Layer

from addon.http1.connection.client_connection import ClientConnection
from addon.http1.connection.context import WorkerContext
from addon.http1.connection.deadlines import Deadlines
from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.connection.parts import ConnectionParts
from addon.http1.connection.upstream_connection import State, UpstreamConnection
from addon.http1.connection.websocket import WebSocketTunnel
from addon.http1.decisions import Admit, Peer
from addon.http1.exchange import Exchange
from addon.http1.limits import Limits
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.head_parser import parse_request
from addon.http1.upstream import Upstream
from tests.addon.http1.playbook import HOST, FakePolicy, FakeSockets

PEER = Peer("192.0.2.7", "http")


class Owner(Layer):
    """Stands in for the layer that the upstream connection belongs to."""

    def _handle_event(self, event: Event) -> CommandGenerator[None]:
        raise AssertionError(event)


class Parts:
    """A client and an upstream connection, both open."""

    def __init__(self, limits: Limits | None = None, rules: Rules | None = None) -> None:
        self.out: list[commands.Command] = []
        self.sockets = FakeSockets()
        self.target = Upstream((("10.0.0.1", 8000),), HOST)
        self.policy = FakePolicy(self.target)
        self.worker = WorkerContext(self.policy, limits or Limits(), rules or Rules())
        self.deadlines = Deadlines(1000.0, 15.0)
        address = Client(peername=("192.0.2.7", 40000), sockname=("192.0.2.1", 80), state=ConnectionState.OPEN)
        self.client = ClientConnection(address, self.sockets, self.worker.limits, self.out)
        self.upstream = UpstreamConnection(Owner(Context(address, Options())), self.out, self.sockets)
        self.upstream.open(self.target, self.target.addresses[0], "u1")
        self.upstream.state = State.OPEN
        assert self.upstream.server is not None
        self.upstream.server.state = ConnectionState.OPEN
        self.shared = ConnectionParts(self.worker, self.client, self.upstream, self.deadlines)
        self.tunnel = WebSocketTunnel(self.shared)
        self._client = address

    def exchange(self, request: bytes) -> ExchangeState:
        """Begin an admitted exchange; what follows the head stays in the receive buffer."""
        self.client.received.buffer += request
        raw = self.client.received.take_head()
        assert raw is not None
        state = ExchangeState(Exchange("id-1", 1000.0))
        state.request = state.exchange.request = parse_request(raw, self.worker.limits)
        state.peer, state.admit = PEER, Admit(self.target, "t1", "u1")
        return state

    def sent_to(self, connection: Connection | None) -> bytes:
        return b"".join(
            command.data
            for command in self.out
            if isinstance(command, commands.SendData) and command.connection is connection
        )

    @property
    def sent_down(self) -> bytes:
        return self.sent_to(self._client)

    @property
    def sent_up(self) -> bytes:
        return self.sent_to(self.upstream.server)
