"""The deadlines of one client connection, in seconds of the monotonic clock."""

import math


class Deadlines:
    """Holds the time of the current event and when the layer has to be woken next."""

    __slots__ = ("idle_until", "next", "now", "total")

    def __init__(self, now: float, seconds: float) -> None:
        self.now = now
        self.next = now + seconds
        # Until when an idle client may begin its next request.
        self.idle_until = self.next
        # When the request head, or the exchange as a whole, has to be complete.
        self.total = math.inf

    def set(self, seconds: float) -> None:
        """Wake the layer after this many seconds, or at the total deadline if that is earlier."""
        self.next = min(self.now + seconds, self.total)
