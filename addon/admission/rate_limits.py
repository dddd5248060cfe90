"""Rate and concurrency limits per token, shared by all workers.

Each worker counts by the second and exchanges its counts with Redis every 100 ms. A limit may therefore be overshot by
what the workers admit in 100 ms, and by no more. While Redis is silent, each worker keeps to limit / workers, for every
token: also for one that was first used after Redis fell silent.
"""

import math
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

WINDOW_SECONDS = 60
# What the other workers said of a token is worth nothing after this long. A token that rests is not exchanged, so that
# old news say nothing of Redis: whether that is silent, the exchange knows.
STALE_SECONDS = 1.0
# When to try again while too many requests are under way: nobody knows when one of them ends.
CONCURRENCY_RETRY_SECONDS = 1


@dataclass(slots=True)
class RateWindow:
    """One token's requests at this worker in the last minute, by the second, and what the others reported."""

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
        """Forget what has left the window: a second counts until the last request in it is a minute old."""
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
        """A request is under way."""
        self.in_flight += 1
        self.is_changed = True

    def request_finished(self) -> None:
        """A request that was `begun` is over."""
        self.in_flight -= 1
        self.is_changed = True


class Allowance(NamedTuple):
    """What a token may still do.

    `reset` is in whole seconds, when the oldest counted request leaves the window; for a token with too much under
    way at once (`is_crowded`), when to try again.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: int
    window: RateWindow
    is_concurrency_limited: bool = False


class RateLimiter:
    """The windows of all tokens that were used here in the last minute. Only the loop touches it."""

    def __init__(
        self, *, per_minute: int, max_concurrent: int, workers: int, seconds: Callable[[], float] = time.time
    ) -> None:
        self._per_minute = per_minute
        self._max_concurrent = max_concurrent
        self._workers = workers
        self._seconds = seconds
        # Set by the exchange: the last one failed.
        self.is_isolated = False
        self._windows: dict[uuid.UUID, RateWindow] = {}

    def set_limits(self, *, per_minute: int, max_concurrent: int) -> None:
        """Judge by other limits from now on; what was counted stays counted."""
        self._per_minute, self._max_concurrent = per_minute, max_concurrent

    def take(self, token_id: uuid.UUID) -> Allowance:
        """Count one request of a token, if it may be made; a caller that makes it then says `begun` at the window."""
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
        used, under_way = window.own, window.in_flight
        oldest = buckets[0][0] if buckets else second
        if self.is_isolated:
            limit, max_concurrent = self._share(limit), self._share(max_concurrent)
        elif now - window.synced_at <= STALE_SECONDS:
            used += window.others
            under_way += window.others_in_flight
            if window.others and window.others_oldest < oldest:
                # What they said is up to a second old: the second they named may have left the window since.
                oldest = max(window.others_oldest, second - WINDOW_SECONDS)
        if under_way >= max_concurrent:
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
        """Return the tokens that were used since the last exchange, and forget those that were not for long."""
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
        """Take in what Redis knows: all workers' requests in the window, and what the others have under way."""
        window.others = max(0, total - own_then)
        window.others_oldest = oldest
        window.others_in_flight = in_flight
        window.synced_at = self._seconds()

    def _share(self, limit: int) -> int:
        return max(1, limit // self._workers)
