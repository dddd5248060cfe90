"""Counters of one worker's metrics: plain integers in one dictionary, used on the event loop only.

prometheus_client's counters take a lock and several calls per increment; these take a dictionary access. Increments are
taken (`take`) and added up for all workers in Redis (metrics.py).
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from addon.http1.exchange import Exchange
from addon.http1.messages.heads import RequestHead
from models.metrics.catalogue import LATENCY
from models.services.gateway.scopes import ORDINARY_METHODS

type Key = tuple[str | int, ...]


# Clients may send any method name: they must not be able to create new series of a metric.
_METHODS = frozenset(ORDINARY_METHODS)


def _method_of(request: RequestHead | None) -> str:
    if request is None:
        return "INVALID"
    return request.method if request.method in _METHODS else "OTHER"


class Counters:
    """Increments since the last `take`, by metric name and labels."""

    def __init__(self) -> None:
        self._pending: defaultdict[Key, int] = defaultdict(int)

    def add(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a counter."""
        self._pending[name, *labels] += by

    def count_decision(self, tier: str, outcome: str) -> None:
        """Count a decision of the gate."""
        self._pending["admissions", tier, outcome] += 1

    def count_bytes(self, received: int, sent: int) -> None:
        """Count body bytes: `received` from the client, `sent` to it."""
        if received:
            self._pending["bytes", "in"] += received
        if sent:
            self._pending["bytes", "out"] += sent

    def count_exchange(self, exchange: Exchange) -> None:
        """Count an exchange that has ended. Its latency is the time until the response head was sent to the client."""
        pending, request, code = self._pending, exchange.request, exchange.code
        pending["requests", _method_of(request), exchange.status] += 1
        seconds = (exchange.first_byte or exchange.ended) - exchange.started
        pending["latency", "", bisect_left(LATENCY, seconds)] += 1
        pending["latency_sum", ""] += int(seconds * 1_000_000)
        if exchange.forwarded and exchange.first_byte:
            seconds = exchange.first_byte - exchange.forwarded
            pending["upstream", "", bisect_left(LATENCY, seconds)] += 1
            pending["upstream_sum", ""] += int(seconds * 1_000_000)
        if code:
            pending["refusals" if exchange.status >= 400 else "broken_off", code] += 1

    def observe(self, name: str, label: str, seconds: float, buckets: Sequence[float] = LATENCY) -> None:
        """Add one observation to a histogram."""
        self._pending[name, label, bisect_left(buckets, seconds)] += 1
        self._pending[f"{name}_sum", label] += int(seconds * 1_000_000)

    @contextmanager
    def timed(self, name: str, label: str) -> Iterator[None]:
        """Observe the duration of a block, whether it succeeds or not."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.observe(name, label, time.perf_counter() - started)

    def take(self) -> dict[Key, int]:
        """Return the increments and reset them."""
        taken, self._pending = self._pending, defaultdict(int)
        return taken
