"""The parts of a connection without a layer around them: what they send stays in a list of commands."""

from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands

from addon.http1.connection.client_connection import ClientConnection
from addon.http1.connection.context import WorkerContext
from addon.http1.connection.deadlines import Deadlines
from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.connection.parts import ConnectionParts
from addon.http1.connection.upstream_link import UpstreamLink
from addon.http1.connection.websocket import WebSocketTunnel
from addon.http1.decisions import Admit, Peer
from addon.http1.exchange import Exchange
from addon.http1.limits import Limits
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.head_parser import parse_request
from addon.http1.upstream import Upstream
from addon.http1.upstream_pool.connection import State, UpstreamConnection
from addon.http1.upstream_pool.pool import UpstreamPool
from tests.addon.http1.playbook import HOST, FakePolicy, FakeSockets, FakeTransport, Server

PEER = Peer("192.0.2.7", "http")


class Parts:
    """A client and an upstream connection, both open."""

    def __init__(self, limits: Limits | None = None, rules: Rules | None = None) -> None:
        self.out: list[commands.Command] = []
        self.sockets = FakeSockets()
        self.target = Upstream((("10.0.0.1", 8000),), HOST)
        self.policy = FakePolicy(self.target)
        self.dialed: list[UpstreamConnection] = []
        self.pool = UpstreamPool(self._dial)
        self.worker = WorkerContext(self.policy, limits or Limits(), rules or Rules(), pool=self.pool)
        self.deadlines = Deadlines(1000.0, 15.0)
        address = Client(peername=("192.0.2.7", 40000), sockname=("192.0.2.1", 80), state=ConnectionState.OPEN)
        self.client = ClientConnection(address, self.sockets, self.worker.limits, self.out)
        self.upstream = UpstreamLink(self.pool, self.sockets, self.client)
        self.transport = FakeTransport()
        self.upstream.connect(self.target, self.target.addresses[0], "u1")
        opening = self.dialed[0]
        opening.transport, opening.state = self.transport, State.OPEN
        self.shared = ConnectionParts(self.worker, self.client, self.upstream, self.deadlines)
        self.tunnel = WebSocketTunnel(self.shared)

    def _dial(self, pool: UpstreamPool, connection: UpstreamConnection) -> Server:
        self.dialed.append(connection)
        return Server(connection)

    def exchange(self, request: bytes) -> ExchangeState:
        """Begin an admitted exchange; what follows the head stays in the receive buffer."""
        self.client.received.buffer += request
        raw = self.client.received.take_head()
        assert raw is not None
        state = ExchangeState(Exchange("id-1", 1000.0))
        state.request = state.exchange.request = parse_request(raw, self.worker.limits)
        state.peer, state.admit = PEER, Admit(self.target, "t1", "u1")
        return state

    @property
    def sent_down(self) -> bytes:
        return b"".join(command.data for command in self.out if isinstance(command, commands.SendData))

    @property
    def sent_up(self) -> bytes:
        return self.transport.written
