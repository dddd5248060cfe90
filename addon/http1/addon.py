"""The mitmproxy addon that puts our layer in place and keeps its deadlines."""

import asyncio
import contextlib
import logging
import time
from typing import cast

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers.tls import ClientTLSLayer

from addon.http1.connection.closed_clients import ClosedClientDetector
from addon.http1.connection.context import WorkerContext
from addon.http1.connection.events import ClientClosed
from addon.http1.connection.handler_sockets import ClosingTransports, HandlerSockets
from addon.http1.connection.layer import Http1Layer
from addon.http1.observe.mitmproxy_observer import FlowObserver, is_observed
from addon.http1.policy_interface import FirstUse, Question
from models.addresses import is_in

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 0.25


class Http1:
    """Supplies `Http1Layer` to every client connection of this worker.

    With `client_tls`, TLS ends here and every client must speak it; the certificate is mitmproxy's `certs`
    option.
    """

    def __init__(self, worker_context: WorkerContext, *, client_tls: bool = False) -> None:
        self.worker_context = worker_context
        self.client_tls = client_tls
        self._closing = ClosingTransports()
        self._hangups = ClosedClientDetector()
        self._sockets: dict[str, HandlerSockets] = {}
        self._layers: dict[str, Http1Layer] = {}
        self._overloaded: set[str] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._observer: FlowObserver | None = None
        self.is_running = False

    def running(self) -> None:
        """Start the sweeper; in stock tools, leave the upstream connection to the layer."""
        ctx.options.update(connection_strategy="lazy", http2=False, rawtcp=False)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        self.is_running = True

    async def done(self) -> None:
        """Stop the sweeper."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        self._hangups.close()
        if self._observer is not None:
            await self._observer.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                now = time.monotonic()
                self.worker_context.registry.sweep(now)
                self._closing.sweep(now)
                for sockets, is_lost in self._hangups.sweep():
                    if sockets.client_id in self._layers:
                        sockets.deliver(ClientClosed(is_lost))
                await self._look_for_observers()
            except Exception:
                logger.exception("the sweeper failed; it goes on")

    async def _look_for_observers(self) -> None:
        """Record exchanges while, and only while, another addon wants to see flows."""
        observed, observer = is_observed(ctx.master), self._observer
        if observed and observer is None:
            self._observer = FlowObserver(ctx.master)
            self.worker_context.add_observer(self._observer)
        elif not observed and observer is not None:
            self.worker_context.remove_observer(observer)
            self._observer = None
            await observer.close()

    def client_connected(self, client: Client) -> None:
        """Count the connection, and turn it away when there are far too many."""
        limits = self.worker_context.limits
        proxyserver = cast(Proxyserver, ctx.master.addons.lookup["proxyserver"])
        handler = proxyserver.connections[client.id]
        sockets = self._sockets[client.id] = HandlerSockets(handler, self._closing, limits.flush_seconds)
        registry = self.worker_context.registry
        mine = registry.add_connection(client, sockets, self.worker_context.clock() + limits.head_seconds)
        everyone, per_address = registry.connections, limits.connections_per_address
        if is_in(client.peername[0], self.worker_context.rules.trusted_proxies):
            per_address = 0  # Many clients come through it.
        if everyone > limits.connections or (per_address and mine > per_address):
            self._overloaded.add(client.id)
            # A few get an answer; a flood is not worth one.
            if everyone > 2 * limits.connections or (per_address and mine > 2 * per_address):
                client.error = "too many connections"
        self._hangups.watch(sockets)

    def client_disconnected(self, client: Client) -> None:
        """Forget the connection, and make sure that its exchange is accounted for."""
        sockets = self._sockets.pop(client.id, None)
        if sockets is not None:
            self._hangups.forget(sockets)
        self._overloaded.discard(client.id)
        layer = self._layers.pop(client.id, None)
        if layer is not None:
            layer.lost()
            self.worker_context.registry.remove_layer(layer)
        self.worker_context.registry.remove_connection(client)

    def next_layer(self, next_layer: NextLayer) -> None:
        """Put TLS, if it ends here, and then our layer in place of whatever another addon chose."""
        context = next_layer.context
        client = context.client
        tls_stands = client.tls_established
        # A layer that an addon before us has set is in the list already, behind those that really run.
        del context.layers[2 if tls_stands else 1 :]
        if self.client_tls and not tls_stands:
            next_layer.layer = ClientTLSLayer(context)
            return
        sockets = self._sockets[client.id]
        layer = Http1Layer(context, self.worker_context, sockets)
        layer.overloaded = client.id in self._overloaded
        self._layers[client.id] = layer
        self.worker_context.registry.add_layer(client, layer, sockets)
        next_layer.layer = layer

    async def admit_slow(self, question: Question) -> None:
        """Let the policy decide with its stores; without a decision the layer refuses."""
        question.decision = await self.worker_context.policy.admit_slow(question)

    async def first_use(self, first_use: FirstUse) -> None:
        """Let the policy start the paid clock; without its word the layer refuses."""
        first_use.refusal = await self.worker_context.policy.first_use(first_use.exchange)
        first_use.allowed = first_use.refusal is None
