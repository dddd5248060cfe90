"""In-memory token cache of a worker, invalidated by PostgreSQL notifications.

The map is used by the loop only; the listener's thread hands its notices over through `call_soon_threadsafe`.
"""

import time
import uuid
from collections import OrderedDict

from models.services.gateway.token_lookup import TokenSnapshot


class MemoryTier:
    """Tokens by the hash of their secret, the one stored longest ago going first when the map is full.

    A browser's cookie is one more secret of its token; an invalidation of the token drops all of them.

    `leased_until` is the loop time up to which entries may be used without asking the database. Each answer that the
    listener gets to a heartbeat moves it on, because every notice of a change before that question came before the
    answer: a connection that stands but says nothing ends the trust as one that was cut off does.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, TokenSnapshot] = OrderedDict()
        # The cookies among the entries, by their token.
        self._cookies: dict[uuid.UUID, set[bytes]] = {}
        self.leased_until = float("-inf")
        # Wall-clock time since which no notice was missed.
        self.connected_since = float("inf")
        # Grows with every notice. A look-up that began before a notice must not be stored after it.
        self.invalidations = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, secret_hash: bytes) -> TokenSnapshot | None:
        """Return the cached token; the caller checks whether the lease still holds."""
        return self._entries.get(secret_hash)

    def put(self, secret_hash: bytes, snapshot: TokenSnapshot, *, invalidations_before: int) -> bool:
        """Remember the answer of a look-up, unless a notice came while it was under way or it is the older one.

        Returns whether it was remembered.
        """
        if invalidations_before != self.invalidations:
            return False
        present = self._entries.get(secret_hash)
        if present is not None and present.version > snapshot.version:
            return False
        self._entries[secret_hash] = snapshot
        self._entries.move_to_end(secret_hash)
        if snapshot.own_device is not None:
            self._cookies.setdefault(snapshot.token_id, set()).add(secret_hash)
        if len(self._entries) > self._size:
            self._evict_oldest()
        return True

    def invalidate(self, secret_hash: bytes, token_id: uuid.UUID) -> None:
        """Drop the entries of a changed token."""
        self.invalidations += 1
        self._entries.pop(secret_hash, None)
        for cookie_hash in self._cookies.pop(token_id, ()):
            self._entries.pop(cookie_hash, None)

    def connected(self, leased_until: float = float("inf")) -> None:
        """The listener is connected again: clear the cache, because messages may have been missed."""
        self.invalidations += 1
        self._entries.clear()
        self._cookies.clear()
        self.leased_until = leased_until
        self.connected_since = time.time()

    def extend_lease(self, leased_until: float) -> None:
        """The listener has an answer, and with it every notice of a change before its question."""
        self.leased_until = leased_until

    def disconnected(self, now: float, trust_seconds: float) -> None:
        """The listener was cut off at loop time `now`."""
        self.leased_until = min(self.leased_until, now + trust_seconds)

    def _evict_oldest(self) -> None:
        secret_hash, snapshot = self._entries.popitem(last=False)
        cookies = self._cookies.get(snapshot.token_id)
        if cookies is not None:
            cookies.discard(secret_hash)
            if not cookies:
                del self._cookies[snapshot.token_id]
