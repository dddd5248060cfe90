"""Counts upstream connections for the metrics: opened, reused, closed by reason, and the wait for them."""

from addon.http1.upstream_pool.pool import PoolCounts
from addon.recording.counters import Counters


class UpstreamCounts(PoolCounts):
    """Counts in the worker's counters."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def count_opened(self, seconds: float) -> None:
        """Count a new connection, and observe the seconds from the request for it until it was open."""
        self._counters.add("upstream_opened")
        self._counters.observe("upstream_wait", "", seconds)

    def count_reused(self) -> None:
        """Count an exchange on a kept connection."""
        self._counters.add("upstream_reused")

    def count_closed(self, reason: str) -> None:
        """Count a closed connection."""
        self._counters.add("upstream_closed", reason)
