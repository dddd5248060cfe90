"""The mitmproxy addon that installs the HTTP/1.1 layer and sweeps its deadlines."""

import asyncio
import contextlib
import logging
import time
from typing import cast

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer, NextLayer
from mitmproxy.proxy.layers.tls import ClientTLSLayer

from addon.http1.clients.closed_clients import ClosedClientDetector
from addon.http1.clients.handler_sockets import ClosingTransports, HandlerSockets
from addon.http1.connection.context import WorkerContext
from addon.http1.connection.layer import Http1Layer
from addon.http1.events import ClientClosed, ConnectionSockets
from addon.http1.observe.mitmproxy_observer import FlowObserver, is_observed
from addon.http1.policy_interface import Activation, Question
from models.addresses import is_in

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 0.25


class Http1:
    """Supplies `Http1Layer` to every client connection of this worker.

    With `client_tls`, TLS ends here and every client must speak it; the certificate is mitmproxy's `certs` option.
    """

    def __init__(self, worker_context: WorkerContext, *, client_tls: bool = False) -> None:
        self.worker_context = worker_context
        self.client_tls = client_tls
        self._closing = ClosingTransports()
        self._closed_clients = ClosedClientDetector()
        self._sockets: dict[str, ConnectionSockets] = {}
        self._layers: dict[str, Http1Layer] = {}
        self._overloaded: set[str] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._observer: FlowObserver | None = None
        self.is_running = False

    def running(self) -> None:
        """Start the sweeper; under mitmproxy's own tools, also leave the upstream connection to the layer."""
        ctx.options.update(connection_strategy="lazy", http2=False, rawtcp=False)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        self.is_running = True

    async def done(self) -> None:
        """Stop the sweeper."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        self._closed_clients.close()
        self.worker_context.pool.close_idle("stopping")
        if self._observer is not None:
            await self._observer.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                now = time.monotonic()
                self.worker_context.registry.sweep(now)
                self._closing.sweep(now)
                self.worker_context.pool.sweep()
                for sockets, is_lost in self._closed_clients.sweep():
                    if sockets.client_id in self._layers:
                        sockets.deliver(ClientClosed(is_lost))
                await self._look_for_observers()
            except Exception:
                logger.exception("the connection sweeper failed; it continues")

    async def _look_for_observers(self) -> None:
        """Record exchanges while another addon has flow hooks."""
        observed, observer = is_observed(ctx.master), self._observer
        if observed and observer is None:
            self._observer = FlowObserver(ctx.master)
            self.worker_context.add_observer(self._observer)
        elif not observed and observer is not None:
            self.worker_context.remove_observer(observer)
            self._observer = None
            await observer.close()

    def client_connected(self, client: Client) -> None:
        """Register a connection that mitmproxy's own handler serves, and refuse it above the limits."""
        proxyserver = cast(Proxyserver, ctx.master.addons.lookup["proxyserver"])
        handler = proxyserver.connections[client.id]
        if not self.accept(client, HandlerSockets(handler, self.abort_unless_flushed)):
            client.error = "too many connections"

    def accept(self, client: Client, sockets: ConnectionSockets) -> bool:
        """Register a connection; return False where it is to be closed at once, because there are far too many."""
        limits, registry = self.worker_context.limits, self.worker_context.registry
        self._sockets[client.id] = sockets
        mine = registry.add_connection(client, sockets, self.worker_context.clock() + limits.head_seconds)
        everyone, per_address = registry.connections, limits.connections_per_address
        if is_in(client.peername[0], self.worker_context.rules.trusted_proxies):
            per_address = 0  # Many clients come through it.
        self._closed_clients.watch(sockets)
        if everyone > limits.connections or (per_address and mine > per_address):
            self._overloaded.add(client.id)
            # A few get a response; in a flood, connections are closed without one.
            return not (everyone > 2 * limits.connections or (per_address and mine > 2 * per_address))
        return True

    def abort_unless_flushed(self, transport: asyncio.WriteTransport) -> None:
        """Abort a transport that is being closed if the peer does not take its last bytes in time."""
        self._closing.add(transport, time.monotonic() + self.worker_context.limits.flush_seconds)

    def client_disconnected(self, client: Client) -> None:
        """Remove the connection, and report the end of its exchange."""
        self._sockets.pop(client.id, None)
        self._closed_clients.forget(client.id)
        self._overloaded.discard(client.id)
        layer = self._layers.pop(client.id, None)
        if layer is not None:
            layer.lost()
            self.worker_context.registry.remove_layer(layer)
        self.worker_context.registry.remove_connection(client)

    def next_layer(self, next_layer: NextLayer) -> None:
        """Install the HTTP/1.1 layer, whatever another addon chose; on top of TLS, the handshake is over."""
        context = next_layer.context
        # A layer that an earlier addon has set is in the list already, behind those that run.
        del context.layers[2 if context.client.tls_established else 1 :]
        next_layer.layer = self._build_http_layer(context)

    def first_layer(self, context: Context) -> Layer:
        """Return the first layer of a connection: TLS, if it is terminated here, or HTTP/1.1."""
        if not self.client_tls:
            return self._build_http_layer(context)
        context.layers.append(NextLayer(context))  # The TLS layer looks at the one below it.
        return ClientTLSLayer(context)

    def _build_http_layer(self, context: Context) -> Http1Layer:
        client = context.client
        sockets = self._sockets[client.id]
        is_overloaded = client.id in self._overloaded
        layer = Http1Layer(context, self.worker_context, sockets, is_overloaded=is_overloaded)
        self._layers[client.id] = layer
        self.worker_context.registry.add_layer(client, layer, sockets)
        return layer

    async def admit_slow(self, question: Question) -> None:
        """Ask the policy for a decision that needs I/O; without one, the layer refuses the request."""
        question.decision = await self.worker_context.policy.admit_slow(question)

    async def activate(self, activation: Activation) -> None:
        """Ask the policy to activate the token; without an answer, the layer refuses the request."""
        activation.refusal = await self.worker_context.policy.activate(activation.exchange)
        activation.allowed = activation.refusal is None
