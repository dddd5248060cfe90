"""Connects to the upstream: tries its addresses one after another and records which could be reached."""

from addon.http1.connection.deadlines import Deadlines
from addon.http1.connection.exchange_state import ExchangeError
from addon.http1.connection.upstream_connection import State, UpstreamConnection
from addon.http1.decisions import Admit, Refuse
from addon.http1.upstream import Address

_UNREACHABLE = Refuse(502, "upstream_unreachable", "The upstream cannot be reached.")


class UpstreamConnector:
    """Opens the upstream connection for an admitted request."""

    def __init__(self, connection: UpstreamConnection, deadlines: Deadlines, seconds: float) -> None:
        self._connection = connection
        self._deadlines = deadlines
        self._seconds = seconds
        self._candidates: list[Address] = []

    def start(self, admit: Admit) -> None:
        """Try the first address."""
        self._candidates = admit.upstream.candidates(self._deadlines.now)
        self.try_next(admit)

    def try_next(self, admit: Admit) -> None:
        """Try the next address. Raises ExchangeError when none is left."""
        if not self._candidates:
            raise ExchangeError(_UNREACHABLE, close=True)
        self._connection.open(admit.upstream, self._candidates.pop(0), admit.user_id)
        self._deadlines.set(self._seconds)

    def succeed(self) -> None:
        """Record that the connection is open."""
        connection = self._connection
        connection.state = State.OPEN
        if connection.upstream is not None and connection.address is not None:
            connection.upstream.mark_reachable(connection.address)

    def fail(self) -> None:
        """Record that the address could not be reached, and close the connection."""
        connection = self._connection
        if connection.upstream is not None and connection.address is not None:
            connection.upstream.mark_failed(connection.address, self._deadlines.now)
        connection.close()
