"""The exchange's hold on an upstream connection: taken from the pool, given back or closed."""

from addon.http1.connection.client_connection import ClientConnection
from addon.http1.events import (
    Sockets,
    UpstreamData,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamOpened,
    UpstreamProgressed,
)
from addon.http1.upstream import Address, Upstream
from addon.http1.upstream_pool.connection import State, UpstreamConnection
from addon.http1.upstream_pool.pool import UpstreamPool


class UpstreamLink:
    """Holds at most one connection; turns what happens on it into events of the layer.

    It never blocks the layer: a closed client, an abort and a deadline take effect while it connects.
    """

    def __init__(self, pool: UpstreamPool, sockets: Sockets, reader: ClientConnection) -> None:
        self._pool = pool
        self._sockets = sockets
        self._reader = reader
        self._held: UpstreamConnection | None = None
        # Whether a request was sent on the connection before: the upstream may be about to close it.
        self.is_reused = False

    # What the exchange calls.

    @property
    def state(self) -> State:
        """The state of the connection; CLOSED without one."""
        return State.CLOSED if self._held is None else self._held.state

    @property
    def address(self) -> Address | None:
        """The upstream's address."""
        return None if self._held is None else self._held.address

    def is_held(self, connection: UpstreamConnection) -> bool:
        """Whether an event of this connection concerns the exchange still."""
        return connection is self._held

    def take(self, upstream: Upstream, user_id: str) -> bool:
        """Take a kept connection of this user; return whether there was one."""
        held = self._held
        if held is not None:  # A bound one, from the exchange before.
            if held.upstream is upstream and held.user_id == user_id and held.is_quiet:
                return True
            self.close("client")
        self._held = self._pool.take(upstream, user_id, self)
        self.is_reused = self._held is not None
        return self.is_reused

    def connect(self, upstream: Upstream, address: Address, user_id: str) -> None:
        """Begin to open a connection. Raises PoolFull."""
        self.close("failed")
        self.is_reused = False
        self._held = self._pool.connect(upstream, address, user_id, self)

    def adopt(self, connection: UpstreamConnection) -> bool:
        """Take a connection that has opened; return False for one that is not waited for any more."""
        held = self._held
        if held is None or (held is not connection and held.state is not State.CLOSED):
            return False
        self._held, self.is_reused = connection, connection.requests > 0
        return True

    def send(self, data: bytes) -> None:
        """Send bytes to the upstream."""
        if self._held is not None:
            self._held.send(data)
            self._reader.hold_congestion()

    def half_close(self) -> None:
        """End this side of the connection."""
        if self._held is not None:
            self._held.half_close()

    @property
    def has_unsent_bytes(self) -> bool:
        """Whether the upstream has not taken everything that was sent."""
        return self._held is not None and self._held.has_unsent_bytes

    def bind(self) -> None:
        """Keep the connection for this client alone: the upstream authenticates it, not the request (NTLM)."""
        if self._held is not None:
            self._held.is_bound = True

    def release(self) -> None:
        """Give the connection back after an exchange that ended cleanly, with nothing unread."""
        held = self._held
        if held is None:
            return
        if held.state is not State.OPEN:
            self.close("aborted")
        elif held.is_bound:
            self.is_reused = True
        else:
            self._held = None
            self._reader.stop_congestion()
            self._pool.release(held)

    def close(self, reason: str, *, is_reset: bool = False) -> None:
        """Close the connection, in whatever state it is."""
        held, self._held = self._held, None
        if held is not None:
            self._reader.stop_congestion()
            self._pool.close(held, reason, is_reset=is_reset)

    # What the connection reports: `Owner`.

    def connection_progressed(self, connection: UpstreamConnection) -> None:
        """Pass on that a deadline begins anew."""
        self._sockets.deliver(UpstreamProgressed(connection))

    def connection_opened(self, connection: UpstreamConnection) -> None:
        """Pass on that a connection is open."""
        self._sockets.deliver(UpstreamOpened(connection))

    def connection_failed(self, connection: UpstreamConnection) -> None:
        """Pass on that the connection could not be opened."""
        self._sockets.deliver(UpstreamFailed(connection))

    def data_received(self, connection: UpstreamConnection, data: bytes) -> None:
        """Pass on received bytes; stop reading while the client does not take them."""
        self._sockets.deliver(UpstreamData(connection, data))
        if self._sockets.is_congested():
            connection.pause_reading()
            self._sockets.when_drained(connection.resume_reading)

    def connection_ended(self, connection: UpstreamConnection, *, is_lost: bool) -> None:
        """Pass on that the upstream has ended its side, or that the connection is lost."""
        self._sockets.deliver(UpstreamEnded(connection, is_lost))

    def writing_paused(self, *, is_paused: bool) -> None:
        """Read from the client as fast as the upstream takes it."""
        if is_paused:
            self._reader.start_congestion()
        else:
            self._reader.stop_congestion()
