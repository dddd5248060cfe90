"""Connects an admitted request to the upstream: a kept connection, or one address after another."""

from addon.http1.connection.deadlines import Deadlines
from addon.http1.connection.exchange_state import ExchangeError
from addon.http1.connection.upstream_link import UpstreamLink
from addon.http1.decisions import Admit, Refuse
from addon.http1.limits import Limits
from addon.http1.upstream import Address
from addon.http1.upstream_pool.connection import State, UpstreamConnection
from addon.http1.upstream_pool.pool import PoolFull, UpstreamPool

_UNREACHABLE = Refuse(502, "upstream_unreachable", "The upstream cannot be reached.")
_FULL = Refuse(503, "upstream_busy", "The upstream is busy; try again in a moment.", (("Retry-After", "1"),))


class UpstreamConnector:
    """Obtains the upstream connection for one exchange at a time."""

    def __init__(self, link: UpstreamLink, pool: UpstreamPool, deadlines: Deadlines, limits: Limits) -> None:
        self._link = link
        self._pool = pool
        self._deadlines = deadlines
        self._limits = limits
        self._candidates: list[Address] = []
        self._address: Address | None = None

    def start(self, admit: Admit) -> None:
        """Open a new connection: to the first address that has room, or queue up at the first. Raises ExchangeError."""
        candidates = admit.upstream.candidates(self._deadlines.now)
        first = next((index for index, address in enumerate(candidates) if self._pool.has_room(address)), 0)
        self._candidates = candidates[first:] + candidates[:first]
        self.try_next(admit)

    def try_next(self, admit: Admit) -> None:
        """Try the next address. Raises ExchangeError when none is left."""
        if not self._candidates:
            raise ExchangeError(_UNREACHABLE, close=True)
        self._address = self._candidates.pop(0)
        try:
            self._link.connect(admit.upstream, self._address, admit.user_id)
        except PoolFull:
            raise ExchangeError(_FULL) from None
        self.progress()

    def progress(self) -> None:
        """Set the deadline of what is under way: the queue, TCP or TLS."""
        limits = self._limits
        if self._link.state is State.QUEUED:
            self._deadlines.set(self._pool.queue_seconds)
        elif self._link.state is State.CONNECTING:
            self._deadlines.set(limits.connect_seconds)
        elif self._link.state is State.HANDSHAKE:
            self._deadlines.set(limits.tls_seconds)

    def succeed(self, connection: UpstreamConnection) -> None:
        """Record that the address could be reached."""
        connection.upstream.mark_reachable(connection.address)

    def fail(self, admit: Admit) -> None:
        """Record that the address could not be reached, and try the next one. Raises ExchangeError."""
        if self._address is not None:
            admit.upstream.mark_failed(self._address, self._deadlines.now)
        self._link.close("failed")
        self.try_next(admit)

    def time_out(self, admit: Admit) -> None:
        """The deadline has passed. Raises ExchangeError unless there is another address to try."""
        if self._link.state is State.QUEUED:
            self._link.close("failed")
            raise ExchangeError(_FULL)
        self.fail(admit)
