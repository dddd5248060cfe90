"""Pool of a worker's upstream connections: kept per user, bounded per address, with a short queue in front.

HTTP/1.1 pairs a response with its request by order alone (RFC 9112, 9.2): a byte that the upstream sends too late or
too much would be read as the beginning of the next response. A kept connection therefore serves one user only.
"""

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable

from addon.http1.upstream import Address, Upstream
from addon.http1.upstream_pool.connection import Cancelable, Owner, State, UpstreamConnection
from addon.http1.upstream_pool.limits import PoolLimits
from addon.http1.upstream_pool.tls import UpstreamTls

logger = logging.getLogger(__name__)


class PoolFull(Exception):
    """The address has as many connections as it may have, and as many requests wait for one."""


class PoolCounts:
    """Counts nothing; a worker counts for its metrics."""

    def count_opened(self, seconds: float) -> None:
        """A connection was opened, so many seconds after it was asked for."""

    def count_reused(self) -> None:
        """A kept connection carries another exchange."""

    def count_closed(self, reason: str) -> None:
        """A connection was closed."""


type Dial = Callable[[UpstreamPool, UpstreamConnection], Cancelable]


class UpstreamPool:
    """All upstream connections of one worker; used on the event loop only."""

    def __init__(
        self,
        dial: Dial,
        limits: PoolLimits | None = None,
        *,
        tls: UpstreamTls | None = None,
        counts: PoolCounts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dial = dial
        self._limits = limits or PoolLimits()
        self.tls = tls or UpstreamTls()
        self._counts = counts or PoolCounts()
        self._clock = clock
        self._generation = 0
        # By user, the connection that was used last at the end.
        self._kept: dict[str, list[UpstreamConnection]] = {}
        self._open: Counter[Address] = Counter()
        self._queues: defaultdict[Address, deque[UpstreamConnection]] = defaultdict(deque)
        self._failures: dict[Address, str] = {}
        self.idle = 0

    @property
    def open(self) -> int:
        """How many connections are open or being opened, idle ones included."""
        return self._open.total()

    @property
    def queue_seconds(self) -> float:
        """How long a request may wait for a connection while its address has no room."""
        return self._limits.queue_seconds

    def take(self, upstream: Upstream, user_id: str, owner: Owner) -> UpstreamConnection | None:
        """Return an idle connection of this user for one exchange, or None when there is none."""
        for connection in reversed(self._kept.get(self._key(user_id), ())):
            # A request must not meet the end of a connection, or a surplus byte, that has come already.
            if connection.upstream is upstream and connection.is_quiet:
                self._remove_idle(connection)
                connection.state, connection.owner = State.OPEN, owner
                self._counts.count_reused()
                return connection
        return None

    def has_room(self, address: Address) -> bool:
        """Whether a connection to this address can be opened at once."""
        return not self._limits.connections or self._open[address] < self._limits.connections

    def connect(self, upstream: Upstream, address: Address, user_id: str, owner: Owner) -> UpstreamConnection:
        """Open a connection for a user, or queue up for one; the owner is notified. Raises PoolFull."""
        connection = UpstreamConnection(self, owner, upstream, address, user_id=user_id, now=self._clock())
        if self.has_room(address) or self._evict_at(address):
            self._start(connection)
        elif len(self._queues[address]) >= self._limits.queue:
            raise PoolFull
        else:
            self._queues[address].append(connection)
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection after an exchange that ended cleanly on both sides, with nothing unread."""
        if connection.state is not State.OPEN:
            self.close(connection, "aborted")
            return
        connection.requests += 1
        if connection.tls is not None and connection.requests == 1:
            self.tls.remember(connection.address, connection.tls)
        reason = self._reason_to_close(connection)
        if reason:
            self.close(connection, reason)
            return
        connection.resume_reading()
        queue = self._queues.get(connection.address)
        if queue:
            self._hand_over(connection, queue)
            return
        connection.state, connection.owner, connection.idle_since = State.IDLE, None, self._clock()
        self._kept.setdefault(self._key(connection.user_id), []).append(connection)
        self.idle += 1
        if self.idle > self._limits.idle:
            # The one that was idle longest, of the user who keeps most.
            self.close(max(self._kept.values(), key=len)[0], "evicted")

    def close(self, connection: UpstreamConnection, reason: str, *, is_reset: bool = False) -> None:
        """Close a connection in whatever state it is, or withdraw it from the queue."""
        state, address = connection.state, connection.address
        if state is State.CLOSED:
            return
        if state is State.QUEUED:
            self._queues[address].remove(connection)
            connection.shut()
            return
        if state is State.IDLE:
            self._remove_idle(connection)
        self._counts.count_closed(reason)
        connection.shut(is_reset=is_reset)
        self._open[address] -= 1
        queue = self._queues.get(address)
        if queue:
            waiting = queue.popleft()
            self._start(waiting)
            if waiting.owner is not None:
                waiting.owner.connection_progressed(waiting)

    def sweep(self) -> None:
        """Close the connections that were idle, or open, for too long."""
        if not self.idle:
            return
        now, limits = self._clock(), self._limits
        for connection in self._idle_connections():
            if now - connection.idle_since >= limits.idle_seconds:
                self.close(connection, "idle")
            elif limits.max_age_seconds and now - connection.opened_at >= limits.max_age_seconds:
                self.close(connection, "max_age")

    def reload_tls(self) -> None:
        """Load the TLS files again; what was opened with the former ones carries no further request. Raises OSError."""
        self.tls.reload()
        self._generation += 1
        self.close_idle("reload")

    def close_idle(self, reason: str) -> None:
        """Close every idle connection."""
        for connection in self._idle_connections():
            self.close(connection, reason)

    # What connections report.

    def opened(self, connection: UpstreamConnection) -> None:
        """A connection is open."""
        connection.opened_at = now = self._clock()
        connection.dialing = None
        self._failures.pop(connection.address, None)
        self._counts.count_opened(now - connection.asked_at)
        if connection.owner is not None:
            connection.owner.connection_opened(connection)

    def failed(self, connection: UpstreamConnection, reason: str) -> None:
        """A connection could not be opened; the reason is logged once until it changes."""
        if self._failures.get(connection.address) != reason:
            self._failures[connection.address] = reason
            logger.warning("the upstream at %s:%s cannot be reached: %s", *connection.address, reason)
        owner = connection.owner
        self.close(connection, "failed")
        if owner is not None:
            owner.connection_failed(connection)

    # Inside.

    def _key(self, user_id: str) -> str:
        return "" if self._limits.is_shared else user_id

    def _idle_connections(self) -> list[UpstreamConnection]:
        return [connection for kept in self._kept.values() for connection in kept]

    def _start(self, connection: UpstreamConnection) -> None:
        """Open a connection for which there is room."""
        self._open[connection.address] += 1
        connection.state, connection.generation = State.CONNECTING, self._generation
        connection.dialing = self._dial(self, connection)

    def _reason_to_close(self, connection: UpstreamConnection) -> str:
        """Return why a connection cannot be used again; empty: it can."""
        limits, transport = self._limits, connection.transport
        if connection.generation != self._generation:
            return "reload"
        if limits.max_requests and connection.requests >= limits.max_requests:
            return "max_requests"
        if limits.max_age_seconds and self._clock() - connection.opened_at >= limits.max_age_seconds:
            return "max_age"
        if transport is None or transport.is_closing() or connection.has_unsent_bytes:
            return "upstream"
        return ""

    def _hand_over(self, connection: UpstreamConnection, queue: deque[UpstreamConnection]) -> None:
        """Let a released connection serve the first request of the queue; closing it makes room for another user's."""
        waiting = queue[0]
        owner = waiting.owner
        is_fitting = self._key(connection.user_id) == self._key(waiting.user_id)
        if owner is None or connection.upstream is not waiting.upstream or not is_fitting:
            self.close(connection, "evicted")
            return
        queue.popleft()
        waiting.shut()
        connection.owner = owner
        self._counts.count_reused()
        owner.connection_opened(connection)

    def _remove_idle(self, connection: UpstreamConnection) -> None:
        key = self._key(connection.user_id)
        kept = self._kept[key]
        kept.remove(connection)
        if not kept:
            del self._kept[key]
        self.idle -= 1

    def _evict_at(self, address: Address) -> bool:
        """Make room at an address by closing an idle connection; return whether there was one."""
        groups = [[each for each in kept if each.address == address] for kept in self._kept.values()]
        if not any(groups):
            return False
        self.close(max(groups, key=len)[0], "evicted")
        return True
