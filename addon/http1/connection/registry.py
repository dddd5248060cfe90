"""Which connections are live, whose they are, and when each wants to be woken."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Protocol

from mitmproxy.connection import Client
from mitmproxy.proxy.events import Event

from addon.http1.connection.events import Abort, Drain, Tick
from addon.http1.decisions import Refuse
from models.addresses import customer_network

logger = logging.getLogger(__name__)


class RegisteredLayer(Protocol):
    """A layer, as the registry sees it."""

    deadline: float

    @property
    def known(self) -> object:
        """What the policy knows of the client whose exchange is under way; None when none is."""


class ClientHandler(Protocol):
    """The way to one client's connection handler."""

    def deliver(self, event: Event) -> None:
        """Hand an event to the layer, as if it came from the network."""

    def close(self) -> None:
        """Close the client's connection without asking a layer."""


class Registry:
    """All connections of one worker; used on the loop only."""

    def __init__(self) -> None:
        self.draining = False
        self._doors: dict[RegisteredLayer, ClientHandler] = {}
        self._tokens: dict[RegisteredLayer, str] = {}
        self._holders: dict[str, set[RegisteredLayer]] = defaultdict(set)
        # Connections that have not sent anything yet, and until when they may stay so.
        self._silent: dict[str, tuple[float, ClientHandler]] = {}
        self._addresses: dict[str, str] = {}
        self._per_address: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """How many client connections are open."""
        return len(self._addresses)

    def add_connection(self, client: Client, door: ClientHandler, until: float) -> int:
        """Take note of a new connection; return how many its address (of IPv6 the /64) has now."""
        address = customer_network(client.peername[0]) or client.peername[0]
        self._addresses[client.id] = address
        self._per_address[address] += 1
        self._silent[client.id] = (until, door)
        return self._per_address[address]

    def remove_connection(self, client: Client) -> None:
        """Forget a connection that is closed."""
        self._silent.pop(client.id, None)
        address = self._addresses.pop(client.id, None)
        if address is not None:
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    def add_layer(self, client: Client, layer: RegisteredLayer, door: ClientHandler) -> None:
        """The connection has a layer from now on."""
        self._silent.pop(client.id, None)
        self._doors[layer] = door

    def remove_layer(self, layer: RegisteredLayer) -> None:
        """The layer is done."""
        self._doors.pop(layer, None)
        self._unbind(layer)

    def bind(self, layer: RegisteredLayer, token_id: str) -> None:
        """The connection was last used by this token."""
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
        """Say whether a token has any connection here, idle ones included."""
        return token_id in self._holders

    def abort(self, token_id: str, refusal: Refuse, whose: Callable[[object], bool] | None = None) -> int:
        """End everything a token has open, idle connections included; return how many that were.

        With `whose` only the exchanges under way are ended of which the policy knows such a thing.
        """
        holders = [layer for layer in self._holders.get(token_id, ()) if whose is None or whose(layer.known)]
        for layer in holders:
            self._deliver(layer, Abort(refusal))
        return len(holders)

    def abort_all(self, refusal: Refuse) -> int:
        """End everything: the time for draining is over."""
        layers = list(self._doors)
        for layer in layers:
            self._deliver(layer, Abort(refusal))
        for _, door in list(self._silent.values()):
            door.close()
        return len(layers)

    def drain(self, grace: float) -> None:
        """Let every connection end after its next reply; those that stay idle are closed after the grace.

        A client that sees no close may just have sent a request: to close at once would lose it.
        """
        self.draining = True
        for layer in list(self._doors):
            self._deliver(layer, Drain())
        latest = time.monotonic() + grace
        self._silent = {key: (min(until, latest), door) for key, (until, door) in self._silent.items()}

    def sweep(self, now: float | None = None) -> None:
        """Wake every layer whose deadline has passed."""
        now = time.monotonic() if now is None else now
        for layer in [layer for layer in self._doors if layer.deadline <= now]:
            self._deliver(layer, Tick())
        for client_id in [key for key, (until, _) in self._silent.items() if until <= now]:
            self._silent.pop(client_id)[1].close()

    def _deliver(self, layer: RegisteredLayer, event: Event) -> None:
        door = self._doors.get(layer)
        if door is None:
            return
        try:
            door.deliver(event)
        except Exception:
            logger.exception("an event could not be delivered")
