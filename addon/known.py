"""What a worker knows of tokens: a bounded map that PostgreSQL's notices keep true.

The map is used by the loop only; the listener's thread hands its notices over through `call_soon_threadsafe`.
"""

import uuid
from collections import OrderedDict, defaultdict

from models.services.sessions import Known


class KnownTokens:
    """Tokens by the hash of their secret, the least recently stored going first when the map is full.

    `trusted_until` is the loop time up to which entries may be used without asking the database: infinity while
    the listener hears notices, a moment after it was cut off, and again infinity, with an empty map, when it is back.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, Known] = OrderedDict()
        self._of_token: dict[uuid.UUID, bytes] = {}
        self._of_user: defaultdict[uuid.UUID, set[bytes]] = defaultdict(set)
        self.trusted_until = float("-inf")
        # Grows with every notice. A look-up that began before a notice must not be stored after it.
        self.notices = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, secret_hash: bytes) -> Known | None:
        """Return what is known; whether it may be trusted is for the caller to ask."""
        return self._entries.get(secret_hash)

    def put(self, secret_hash: bytes, known: Known, *, notices_before: int) -> None:
        """Remember the answer of a look-up, unless a notice came while it was under way or it is the older one."""
        if notices_before != self.notices:
            return
        present = self._entries.get(secret_hash)
        if present is not None and present.version > known.version:
            return
        self._entries[secret_hash] = known
        self._entries.move_to_end(secret_hash)
        self._of_token[known.token_id] = secret_hash
        self._of_user[known.user_id].add(secret_hash)
        while len(self._entries) > self._size:
            self._drop(next(iter(self._entries)))

    def forget_token(self, token_id: uuid.UUID) -> None:
        """A notice: this token changed."""
        self.notices += 1
        secret_hash = self._of_token.get(token_id)
        if secret_hash is not None:
            self._drop(secret_hash)

    def forget_user(self, user_id: uuid.UUID) -> None:
        """A notice: this user changed, and with him all his tokens."""
        self.notices += 1
        for secret_hash in list(self._of_user.get(user_id, ())):
            self._drop(secret_hash)

    def listening(self) -> None:
        """The listener hears again. What was said meanwhile is lost, so the map starts anew."""
        self.notices += 1
        self._entries.clear()
        self._of_token.clear()
        self._of_user.clear()
        self.trusted_until = float("inf")

    def deaf(self, now: float, trust_seconds: float) -> None:
        """The listener was cut off at loop time `now`."""
        self.trusted_until = min(self.trusted_until, now + trust_seconds)

    def _drop(self, secret_hash: bytes) -> None:
        known = self._entries.pop(secret_hash)
        del self._of_token[known.token_id]
        hashes = self._of_user[known.user_id]
        hashes.discard(secret_hash)
        if not hashes:
            del self._of_user[known.user_id]
