"""Registry of a worker's open connections: by token, by client address and by deadline."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Protocol

from mitmproxy.connection import Client
from mitmproxy.proxy.events import Event

from addon.http1.decisions import Refuse
from addon.http1.events import Abort, Drain, Tick
from models.addresses import customer_network

logger = logging.getLogger(__name__)


class RegisteredLayer(Protocol):
    """A layer, as the registry sees it."""

    @property
    def deadline(self) -> float:
        """When the layer has to be woken; a reading of the monotonic clock."""

    @property
    def snapshot(self) -> object:
        """What the policy knows of the client whose exchange is under way; None when none is."""


class ClientHandler(Protocol):
    """One client's connection handler."""

    def deliver(self, event: Event) -> None:
        """Pass an event to the layer, as if it came from the network."""

    def close(self) -> None:
        """Close a connection that has no layer."""


class Registry:
    """All client connections of one worker; used on the event loop only."""

    def __init__(self) -> None:
        self.draining = False
        self._handlers: dict[RegisteredLayer, ClientHandler] = {}
        self._tokens: dict[RegisteredLayer, str] = {}
        self._holders: dict[str, set[RegisteredLayer]] = defaultdict(set)
        # Connections that have sent nothing yet, and until when they may stay open.
        self._without_layer: dict[str, tuple[float, ClientHandler]] = {}
        self._addresses: dict[str, str] = {}
        self._per_address: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """How many client connections are open."""
        return len(self._addresses)

    def add_connection(self, client: Client, handler: ClientHandler, until: float) -> int:
        """Add a new connection; return how many its address (of IPv6 the /64) has now."""
        address = customer_network(client.peername[0]) or client.peername[0]
        self._addresses[client.id] = address
        self._per_address[address] += 1
        self._without_layer[client.id] = (until, handler)
        return self._per_address[address]

    def remove_connection(self, client: Client) -> None:
        """Remove a closed connection."""
        self._without_layer.pop(client.id, None)
        address = self._addresses.pop(client.id, None)
        if address is not None:
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    def add_layer(self, client: Client, layer: RegisteredLayer, handler: ClientHandler) -> None:
        """Add the layer of a connection that has sent its first bytes."""
        self._without_layer.pop(client.id, None)
        self._handlers[layer] = handler

    def remove_layer(self, layer: RegisteredLayer) -> None:
        """Remove a layer that is closed."""
        self._handlers.pop(layer, None)
        self._unbind(layer)

    def bind(self, layer: RegisteredLayer, token_id: str) -> None:
        """Record that a connection was last used by this token."""
        if self._tokens.get(layer) == token_id:
            return
        self._unbind(layer)
        self._tokens[layer] = token_id
        self._holders[token_id].add(layer)

    def _unbind(self, layer: RegisteredLayer) -> None:
        token_id = self._tokens.pop(layer, None)
        if token_id is not None:
            holders = self._holders[token_id]
            holders.discard(layer)
            if not holders:
                del self._holders[token_id]

    def has_connections(self, token_id: str) -> bool:
        """Return whether a token has any connection at this worker, idle ones included."""
        return token_id in self._holders

    def abort(self, token_id: str, refusal: Refuse, whose: Callable[[object], bool] | None = None) -> int:
        """Abort a token's connections, idle ones included; return their number.

        `whose` selects them by what the policy knows of the exchange under way (`RegisteredLayer.snapshot`).
        """
        holders = [layer for layer in self._holders.get(token_id, ()) if whose is None or whose(layer.snapshot)]
        for layer in holders:
            self._deliver(layer, Abort(refusal))
        return len(holders)

    def abort_all(self, refusal: Refuse) -> int:
        """Abort every connection, when the time for draining is over; return the number of layers."""
        layers = list(self._handlers)
        for layer in layers:
            self._deliver(layer, Abort(refusal))
        for _, handler in list(self._without_layer.values()):
            handler.close()
        return len(layers)

    def drain(self, grace: float) -> None:
        """Close every connection after its next response, and idle ones after `grace` seconds.

        A request may be on its way on an idle connection: closing at once would lose it.
        """
        self.draining = True
        for layer in list(self._handlers):
            self._deliver(layer, Drain())
        latest = time.monotonic() + grace
        self._without_layer = {
            key: (min(until, latest), handler) for key, (until, handler) in self._without_layer.items()
        }

    def sweep(self, now: float | None = None) -> None:
        """Wake every layer whose deadline has passed."""
        now = time.monotonic() if now is None else now
        for layer in [layer for layer in self._handlers if layer.deadline <= now]:
            self._deliver(layer, Tick())
        for client_id in [key for key, (until, _) in self._without_layer.items() if until <= now]:
            self._without_layer.pop(client_id)[1].close()

    def _deliver(self, layer: RegisteredLayer, event: Event) -> None:
        handler = self._handlers.get(layer)
        if handler is None:
            return
        try:
            handler.deliver(event)
        except Exception:
            logger.exception("could not deliver an event to a connection")
