"""Playbook tests of the layer: events in, commands out, simulated sockets and clock."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from mitmproxy.connection import Client, ConnectionState
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context

from addon.http1.connection.context import WorkerContext
from addon.http1.connection.layer import Http1Layer
from addon.http1.decisions import Admit, Decision, Defer, Peer, Refuse
from addon.http1.events import Abort, ActivateHook, AdmitSlowHook, ClientClosed, Drain, Tick
from addon.http1.exchange import Exchange
from addon.http1.limits import Limits
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.heads import RequestHead
from addon.http1.policy_interface import Activation, Question
from addon.http1.upstream import Address, Upstream
from addon.http1.upstream_pool.connection import State, UpstreamConnection
from addon.http1.upstream_pool.limits import PoolLimits
from addon.http1.upstream_pool.pool import UpstreamPool

HOST = b"upstream.example:8000"


@dataclass
class FakeSockets:
    """Records what the layer does with its sockets."""

    paused: bool = False
    aborted: bool = False
    gone: bool = False
    unsent: int = 0
    congested: bool = False
    resuming: list[Callable[[], None]] = field(default_factory=list)
    layer: "Playbook | None" = None

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def abort(self) -> None:
        self.aborted = True

    def unsent_bytes(self) -> int:
        return self.unsent

    def is_lost(self) -> bool:
        return self.gone

    def abort_unless_flushed(self) -> None:
        pass

    def deliver(self, event: events.Event) -> None:
        assert self.layer is not None
        self.layer.deliver(event)

    def is_congested(self) -> bool:
        return self.congested

    def when_drained(self, resume: Callable[[], None]) -> None:
        self.resuming.append(resume)


# A socket on which nothing ever comes.
QUIET = socket.socketpair()


class FakeTransport(asyncio.Transport):
    """The socket of an upstream connection: what is written to it stays here."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = QUIET[0]
        self.written = b""
        self.unsent = 0
        self.closed = False
        self.was_aborted = False
        self.half_closed = False
        self.reading = True

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.socket if name == "socket" else default

    def write(self, data: bytes) -> None:
        assert data
        assert not self.closed, "sent to a closed upstream"
        assert not self.half_closed, "sent to an upstream whose side is closed"
        self.written += data

    def write_eof(self) -> None:
        self.half_closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.was_aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@dataclass
class Server:
    """One connection to the upstream that the pool has opened."""

    connection: UpstreamConnection
    transport: FakeTransport = field(default_factory=FakeTransport)
    was_canceled: bool = False

    @property
    def connected(self) -> bool:
        return self.connection.state in (State.OPEN, State.IDLE)

    @property
    def address(self) -> Address:
        return self.connection.address

    def cancel(self) -> None:
        self.was_canceled = True


class Network:
    """The upstream's side of a pool: its connections, and those that are still being opened."""

    def __init__(self, limits: PoolLimits | None, clock: Callable[[], float]) -> None:
        self.servers: list[Server] = []
        self.opening: list[Server] = []
        self.pool = UpstreamPool(self._dial, limits, clock=clock)

    def _dial(self, pool: UpstreamPool, connection: UpstreamConnection) -> Server:
        server = Server(connection)
        self.servers.append(server)
        self.opening.append(server)
        return server

    def connect(self, error: str | None = None) -> None:
        """Let the connection that was begun first succeed or fail."""
        server = self.opening.pop(0)
        if server.was_canceled:
            return
        if error is None:
            server.connection.connection_made(server.transport)
        else:
            self.pool.failed(server.connection, error)


class FakePolicy:
    """Admits every request unless a test sets `decide`; records the callbacks."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.decide: Callable[[RequestHead], Decision | Defer] = lambda _: Admit(upstream, "t1", "u1")
        self.requests: list[RequestHead] = []
        self.opened: list[Exchange] = []
        self.closed: list[Exchange] = []
        self.bytes_in = 0
        self.bytes_out = 0

    def admit(self, request: RequestHead, peer: Peer, exchange: Exchange) -> Decision | Defer:
        self.requests.append(request)
        return self.decide(request)

    async def admit_slow(self, question: Question) -> Decision:
        raise NotImplementedError

    async def activate(self, exchange: Exchange) -> Refuse | None:
        raise NotImplementedError

    def on_open(self, exchange: Exchange) -> None:
        self.opened.append(exchange)

    def on_bytes(self, exchange: Exchange, received: int, sent: int) -> None:
        self.bytes_in += received
        self.bytes_out += sent

    def on_close(self, exchange: Exchange) -> None:
        self.closed.append(exchange)


class Playbook:
    """One client connection; `upstreams` holds the bytes sent on each upstream connection that was opened."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        rules: Rules | None = None,
        connects: bool = True,
        addresses: int = 1,
        is_overloaded: bool = False,
        pool: PoolLimits | None = None,
        network: Network | None = None,
    ) -> None:
        self.time = 1000.0
        hosts = tuple((f"10.0.0.{n + 1}", 8000) for n in range(addresses))
        self.upstream = Upstream(hosts, HOST)
        self.policy = FakePolicy(self.upstream)
        self.sockets = FakeSockets()
        self.sockets.layer = self
        self.network = network or Network(pool, lambda: self.time)
        self.pool, self.servers = self.network.pool, self.network.servers
        self.worker_context = WorkerContext(
            self.policy, limits or Limits(), rules or Rules(), pool=self.pool, clock=lambda: self.time
        )
        self.client = Client(peername=("192.0.2.7", 40000), sockname=("192.0.2.1", 80), state=ConnectionState.OPEN)
        self.layer = Http1Layer(
            Context(self.client, Options()), self.worker_context, self.sockets, is_overloaded=is_overloaded
        )
        self.worker_context.registry.add_layer(self.client, self.layer, self)
        self.connects = connects
        self.received = b""
        self.half_closed = False
        self.closed = False
        self._is_busy = False
        self._waiting: list[events.Event] = []
        self.hooks: list[commands.StartHook] = []
        self.feed(events.Start())

    def deliver(self, event: events.Event) -> None:
        self.feed(event)

    def close(self) -> None:
        self.closed = True

    def feed(self, event: events.Event) -> None:
        """Handle an event; one that comes meanwhile waits, as the handler's lock makes it."""
        self._waiting.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._waiting:
                for command in list(self.layer.handle_event(self._waiting.pop(0))):
                    self._obey(command)
        finally:
            self._is_busy = False
        if self.connects and self.network.opening:
            self.connected()

    @property
    def upstreams(self) -> list[bytes]:
        """What was sent on each upstream connection that was opened."""
        return [server.transport.written for server in self.servers]

    @property
    def half_closed_upstreams(self) -> set[int]:
        return {index for index, server in enumerate(self.servers) if server.transport.half_closed}

    def _obey(self, command: commands.Command) -> None:
        if isinstance(command, commands.SendData):
            assert command.connection is self.client
            assert self.client.state & ConnectionState.CAN_WRITE, "sent to a client whose side is closed"
            assert command.data
            self.received += command.data
        elif isinstance(command, commands.CloseTcpConnection) and command.half_close:
            command.connection.state &= ~ConnectionState.CAN_WRITE
            self.half_closed = True
        elif isinstance(command, commands.CloseConnection):
            command.connection.state = ConnectionState.CLOSED
            self.closed = True
        elif isinstance(command, commands.StartHook):
            assert command.blocking is self.layer
            self.hooks.append(command)
        else:
            raise AssertionError(command)

    @property
    def server(self) -> Server:
        return self.servers[-1]

    def connected(self, error: str | None = None) -> None:
        self.network.connect(error)

    def send(self, data: bytes) -> "Playbook":
        self.feed(events.DataReceived(self.client, data))
        return self

    def reply(self, data: bytes) -> "Playbook":
        return self.reply_on(-1, data)

    def reply_on(self, index: int, data: bytes) -> "Playbook":
        """Let one of the upstream connections send something, also one that the layer has closed."""
        self.servers[index].connection.receive(data)
        return self

    def hang_up(self, *, lost: bool = False) -> "Playbook":
        self.client.state &= ~ConnectionState.CAN_READ
        if lost:
            self.sockets.gone = True
        self.feed(events.ConnectionClosed(self.client))
        return self

    def client_closed(self, *, is_lost: bool = False) -> "Playbook":
        """The sweeper detects the client's FIN, which is queued behind unread bytes."""
        self.feed(ClientClosed(is_lost))
        return self

    def upstream_hangs_up(self, *, lost: bool = False, index: int = -1) -> "Playbook":
        connection = self.servers[index].connection
        if lost:
            connection.connection_lost(ConnectionResetError("reset"))
        else:
            connection.eof_received()
        return self

    def answer(self, decision: Decision | None) -> "Playbook":
        """Answer the `admit_slow` hook."""
        hook = self.hooks.pop(0)
        assert isinstance(hook, AdmitSlowHook)
        hook.data.decision = decision
        self.feed(events.HookCompleted(hook))
        return self

    def allow(self, refusal: Refuse | None = None, *, silent: bool = False) -> "Playbook":
        """Answer the `activate` hook."""
        hook = self.hooks.pop(0)
        assert isinstance(hook, ActivateHook)
        data: Activation = hook.data
        if not silent:
            data.refusal, data.allowed = refusal, refusal is None
        self.feed(events.HookCompleted(hook))
        return self

    def wait(self, seconds: float) -> "Playbook":
        """Let time pass as the sweeper would."""
        end = self.time + seconds
        while self.time < end:
            self.time = min(self.time + 0.25, end)
            if self.layer.deadline <= self.time:
                self.feed(Tick())
            self.pool.sweep()
        return self

    def abort(self) -> "Playbook":
        self.feed(Abort(Refuse(401, "token_revoked", "The access token was revoked.")))
        return self

    def drain(self) -> "Playbook":
        self.worker_context.registry.draining = True
        self.feed(Drain())
        return self

    def take(self) -> bytes:
        """Take what the client has received so far."""
        data, self.received = self.received, b""
        return data

    @property
    def exchange(self) -> Exchange:
        """The exchange that ended last."""
        return self.policy.closed[-1]


GET = b"GET /a?b=1 HTTP/1.1\r\nHost: proxy.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"POST /p HTTP/1.1\r\nHost: proxy.example\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(body: bytes, extra: bytes = b"") -> bytes:
    return b"POST /p HTTP/1.1\r\nHost: proxy.example\r\nContent-Length: %d\r\n%b\r\n%b" % (
        len(body),
        extra,
        body,
    )
