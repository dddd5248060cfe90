"""Rate and concurrency limits per token, shared by all workers.

Each worker counts by the second and synchronises with Redis every 100 ms (rate_limit_sync.py). A limit can therefore be
exceeded by the requests that the workers admit in 100 ms, and by no more. While Redis is down, each worker keeps to
limit / workers for every token, also for one that is first used then.
"""

import math
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

WINDOW_SECONDS = 60
# The other workers' counts of a token are ignored after this long. Idle tokens are not synchronised, so old counts do
# not mean that Redis is down.
STALE_SECONDS = 1.0
# Retry-After of a concurrency limit: it is unknown when a request in flight will end.
CONCURRENCY_RETRY_SECONDS = 1


@dataclass(slots=True)
class RateWindow:
    """One token's requests at this worker in the last minute, by the second, and the other workers' counts."""

    buckets: deque[list[int]] = field(default_factory=deque)
    own: int = 0
    pending: Counter[int] = field(default_factory=Counter)
    others: int = 0
    others_oldest: int = 0
    synced_at: float = -math.inf
    in_flight: int = 0
    others_in_flight: int = 0
    is_changed: bool = False

    def prune(self, second: int) -> None:
        """Drop seconds that have left the window: a second counts until the last request in it is a minute old."""
        while self.buckets and self.buckets[0][0] < second - WINDOW_SECONDS:
            self.own -= self.buckets.popleft()[1]

    def count(self, second: int) -> None:
        """Count one request."""
        if self.buckets and self.buckets[-1][0] >= second:
            self.buckets[-1][1] += 1
        else:
            self.buckets.append([second, 1])
        self.own += 1
        self.pending[second] += 1

    def request_started(self) -> None:
        """Count a request as in flight."""
        self.in_flight += 1
        self.is_changed = True

    def request_finished(self) -> None:
        """Count a request for which `request_started` was called as ended."""
        self.in_flight -= 1
        self.is_changed = True


class Allowance(NamedTuple):
    """Whether a request is within a token's limits, and what is left of them.

    `reset` is in how many seconds the oldest counted request leaves the window; above the concurrency limit
    (`is_concurrency_limited`), in how many seconds to try again.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: int
    window: RateWindow
    is_concurrency_limited: bool = False


class RateLimiter:
    """The windows of all tokens that were used here in the last minute. Used on the event loop only."""

    def __init__(
        self, *, per_minute: int, max_concurrent: int, workers: int, seconds: Callable[[], float] = time.time
    ) -> None:
        self._per_minute = per_minute
        self._max_concurrent = max_concurrent
        self._workers = workers
        self._seconds = seconds
        # Set by `RateLimitSync`: the last synchronisation failed.
        self.is_isolated = False
        self._windows: dict[uuid.UUID, RateWindow] = {}

    def set_limits(self, *, per_minute: int, max_concurrent: int) -> None:
        """Change the limits; counts are kept."""
        self._per_minute, self._max_concurrent = per_minute, max_concurrent

    def take(self, token_id: uuid.UUID) -> Allowance:
        """Count one request of a token within its limits; the caller reports its start and end to the window."""
        now = self._seconds()
        second = int(now)
        window = self._windows.get(token_id)
        if window is None:
            window = self._windows[token_id] = RateWindow()
        buckets = window.buckets
        if buckets and buckets[0][0] < second - WINDOW_SECONDS:
            window.prune(second)
        window.is_changed = True
        limit, max_concurrent = self._per_minute, self._max_concurrent
        used, in_flight = window.own, window.in_flight
        oldest = buckets[0][0] if buckets else second
        if self.is_isolated:
            limit, max_concurrent = self._share(limit), self._share(max_concurrent)
        elif now - window.synced_at <= STALE_SECONDS:
            used += window.others
            in_flight += window.others_in_flight
            if window.others and window.others_oldest < oldest:
                # Their counts are up to a second old: the oldest second may have left the window since.
                oldest = max(window.others_oldest, second - WINDOW_SECONDS)
        if in_flight >= max_concurrent:
            return Allowance(
                False,
                self._per_minute,
                max(0, limit - used),
                CONCURRENCY_RETRY_SECONDS,
                window,
                is_concurrency_limited=True,
            )
        reset = oldest + WINDOW_SECONDS + 1 - second
        if used >= limit:
            return Allowance(False, self._per_minute, 0, reset, window)
        window.count(second)
        return Allowance(True, self._per_minute, limit - used - 1, reset, window)

    def take_changed(self) -> list[tuple[uuid.UUID, RateWindow]]:
        """Return the tokens that were used since the last synchronisation, and drop those with an empty window."""
        second = int(self._seconds())
        dirty = []
        for token_id, window in list(self._windows.items()):
            if window.is_changed or window.in_flight:
                window.is_changed = False
                dirty.append((token_id, window))
                continue
            window.prune(second)
            if not window.buckets:
                del self._windows[token_id]
        return dirty

    def apply_totals(self, window: RateWindow, *, total: int, oldest: int, in_flight: int, own_then: int) -> None:
        """Apply the counts of all workers; `own_then` is this worker's own count when it reported."""
        window.others = max(0, total - own_then)
        window.others_oldest = oldest
        window.others_in_flight = in_flight
        window.synced_at = self._seconds()

    def _share(self, limit: int) -> int:
        return max(1, limit // self._workers)
