"""In-memory token cache of a worker, invalidated by PostgreSQL notifications.

Used on the event loop only; the listener's thread passes invalidations through `call_soon_threadsafe`.
"""

import time
import uuid
from collections import OrderedDict

from models.services.gateway.token_lookup import TokenSnapshot


class MemoryTier:
    """Tokens by the hash of their secret; the entry stored longest ago is evicted when the cache is full.

    A browser access cookie is one more secret of its token; an invalidation of the token drops all of them.

    `leased_until`, the end of the cache lease, is the loop time up to which entries may be used without asking the
    database. Each heartbeat that the listener receives extends it, because every invalidation committed before that
    heartbeat was received before it. A silent connection lets the lease end just as a lost one does.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, TokenSnapshot] = OrderedDict()
        # The cookies among the entries, by their token.
        self._cookies: dict[uuid.UUID, set[bytes]] = {}
        self.leased_until = float("-inf")
        # Wall-clock time since which no invalidation was missed.
        self.connected_since = float("inf")
        # Number of invalidations. A look-up that began before an invalidation must not be stored after it.
        self.invalidations = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, secret_hash: bytes) -> TokenSnapshot | None:
        """Return the cached token; the caller checks whether the lease still holds."""
        return self._entries.get(secret_hash)

    def put(self, secret_hash: bytes, snapshot: TokenSnapshot, *, invalidations_before: int) -> bool:
        """Store the result of a look-up, unless an invalidation came meanwhile or a newer version is stored.

        Returns whether it was stored.
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
        """Clear the cache when the listener is connected again: invalidations may have been missed."""
        self.invalidations += 1
        self._entries.clear()
        self._cookies.clear()
        self.leased_until = leased_until
        self.connected_since = time.time()

    def extend_lease(self, leased_until: float) -> None:
        """Extend the cache lease after a heartbeat: every invalidation sent before it has been received."""
        self.leased_until = leased_until

    def disconnected(self, now: float, trust_seconds: float) -> None:
        """Let the cache lease end `trust_seconds` after the listener lost its connection at loop time `now`."""
        self.leased_until = min(self.leased_until, now + trust_seconds)

    def _evict_oldest(self) -> None:
        secret_hash, snapshot = self._entries.popitem(last=False)
        cookies = self._cookies.get(snapshot.token_id)
        if cookies is not None:
            cookies.discard(secret_hash)
            if not cookies:
                del self._cookies[snapshot.token_id]
