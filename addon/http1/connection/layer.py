"""The HTTP/1.1 layer of one client connection: takes mitmproxy's events, yields its commands, does no I/O.

No command blocks the layer (each carries the layer as its `blocking` mark, so that the layers above do not
wait either): a deadline, an abort or a closed client takes effect at once, whatever the layer is waiting for.
"""

import logging

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer

from addon.http1.connection.admission import Admission
from addon.http1.connection.client_connection import ClientConnection, Mode
from addon.http1.connection.context import WorkerContext
from addon.http1.connection.deadlines import Deadlines
from addon.http1.connection.exchange_machine import ExchangeMachine
from addon.http1.connection.exchange_state import ExchangeError
from addon.http1.connection.lifecycle import Lifecycle
from addon.http1.connection.parts import ConnectionParts
from addon.http1.connection.relay import Relay
from addon.http1.connection.request_reader import RequestReader
from addon.http1.connection.upstream_link import UpstreamLink
from addon.http1.connection.websocket import WebSocketTunnel
from addon.http1.decisions import Peer
from addon.http1.events import (
    Abort,
    ClientClosed,
    Drain,
    Sockets,
    Tick,
    UpstreamData,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamOpened,
    UpstreamProgressed,
)
from models.addresses import canonical

logger = logging.getLogger(__name__)


class Http1Layer(Layer):
    """Wires the parts of a connection together and hands each event to the part that it concerns."""

    def __init__(
        self, context: Context, worker: WorkerContext, sockets: Sockets, *, is_overloaded: bool = False
    ) -> None:
        super().__init__(context)
        limits = worker.limits
        out: list[commands.Command] = []
        self._clock = worker.clock
        self._out = out
        self._pool = worker.pool
        self._deadlines = Deadlines(worker.clock(), limits.head_seconds)
        self._client = ClientConnection(context.client, sockets, limits, out)
        self._upstream = UpstreamLink(worker.pool, sockets, self._client)
        parts = ConnectionParts(worker, self._client, self._upstream, self._deadlines)
        peer = Peer(canonical(context.client.peername[0]), "https" if context.client.tls else "http")
        reader = RequestReader(self._client.received, peer, limits, worker.rules, worker.header_cache)
        relay = Relay(parts, WebSocketTunnel(parts))
        self._lifecycle = Lifecycle(self, parts, peer.address)
        admission = Admission(self, parts, self._lifecycle, relay, out)
        self._exchanges = ExchangeMachine(parts, self._lifecycle, reader, admission, relay, is_overloaded=is_overloaded)

    @property
    def deadline(self) -> float:
        """When the sweeper has to wake this layer."""
        return self._deadlines.next

    @property
    def snapshot(self) -> object:
        """What the policy knows of the client whose exchange is under way; None when none is."""
        state = self._lifecycle.current
        return None if state is None else state.exchange.snapshot

    def lost(self) -> None:
        """End the exchange: the client's connection is lost, and no further event will come."""
        if self._client.mode is not Mode.CLOSED:
            self._deadlines.now = self._clock()
            self._out.clear()
            self._lifecycle.abandon("client_closed")

    def handle(self, event: events.Event) -> list[commands.Command]:
        """Handle an event and return the commands; the list is valid until the next call."""
        out = self._out
        out.clear()
        if self._client.mode is Mode.CLOSED:
            if isinstance(event, UpstreamOpened):
                self._pool.close(event.connection, "aborted")
            return out
        self._deadlines.now = self._clock()
        try:
            try:
                self._dispatch(event)
            except ExchangeError as error:
                self._lifecycle.fail(error)
            if self._lifecycle.current is None or self._client.has_ended:
                self._exchanges.read_requests()
        except Exception:
            logger.exception("the HTTP layer failed; the connection is closed")
            self._crash()
        return out

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        yield from self.handle(event)

    def _crash(self) -> None:
        """Close the connection and send nothing that was about to be sent, even if reporting the error fails too."""
        self._out.clear()
        try:
            self._lifecycle.crash()
        except Exception:
            logger.exception("the HTTP layer failed twice")
            self._client.mode = Mode.CLOSED
            self._out[:] = [commands.CloseConnection(self.context.client)]

    def _dispatch(self, event: events.Event) -> None:
        # First the two that nearly all events are.
        if isinstance(event, events.DataReceived):
            if event.connection is self.context.client:
                self._receive(event.data)
        elif isinstance(event, UpstreamData):
            if self._upstream.is_held(event.connection):
                self._exchanges.upstream_data(event.data)
        else:
            self._dispatch_rare(event)

    def _dispatch_rare(self, event: events.Event) -> None:
        match event:
            case UpstreamOpened(connection):
                self._exchanges.connection_opened(connection)
            case UpstreamProgressed() | UpstreamFailed() | UpstreamEnded():
                if self._upstream.is_held(event.connection):
                    self._dispatch_upstream(event)
            case events.HookCompleted():
                self._exchanges.hook_completed(event.command)
            case Tick():
                if self._deadlines.now >= self._deadlines.next:
                    self._exchanges.deadline_passed()
            case _:
                self._dispatch_end(event)

    def _dispatch_upstream(self, event: UpstreamProgressed | UpstreamFailed | UpstreamEnded) -> None:
        if isinstance(event, UpstreamEnded):
            self._exchanges.upstream_ended(is_lost=event.is_lost)
        elif isinstance(event, UpstreamFailed):
            self._exchanges.connection_failed()
        else:
            self._exchanges.connection_progressed()

    def _dispatch_end(self, event: events.Event) -> None:
        match event:
            case events.ConnectionClosed():
                if event.connection is self.context.client:
                    self._exchanges.client_ended()
            case ClientClosed(is_lost):
                self._exchanges.client_closed(is_lost=is_lost)
            case Abort(refusal):
                self._lifecycle.abort(refusal)
            case Drain():
                self._lifecycle.drain()

    def _receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        state = self._lifecycle.current
        if state is not None:
            self._exchanges.client_data(state, data)
        elif self._client.mode is Mode.OPEN:
            self._client.received.buffer += data
        else:
            self._lifecycle.discard(data)
