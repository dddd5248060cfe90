"""Limit on failed admissions per client address, against guessing of tokens."""

import time
from collections import OrderedDict
from collections.abc import Callable

from models.addresses import customer_network

WINDOW_SECONDS = 60
MAX_ADDRESSES = 20_000


class GuessLimiter:
    """Counts failed admissions per address and minute; the least recently failed address is evicted when full."""

    def __init__(self, limit: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._monotonic = monotonic
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, address: str) -> None:
        """Count one failure."""
        key, now = _network(address), self._monotonic()
        since, count = self._counts.pop(key, (now, 0))
        if now - since >= WINDOW_SECONDS:
            since, count = now, 0
        self._counts[key] = (since, count + 1)
        if len(self._counts) > MAX_ADDRESSES:
            self._counts.popitem(last=False)

    def retry_after(self, address: str) -> int | None:
        """Return in how many seconds an address may try again; None when it is below the limit."""
        entry = self._counts.get(_network(address))
        if entry is None or entry[1] < self.limit:
            return None
        left = entry[0] + WINDOW_SECONDS - self._monotonic()
        return None if left <= 0 else int(left) + 1


def _network(address: str) -> str:
    """Return the network that counts as one client."""
    return (customer_network(address) or address) if ":" in address else address
