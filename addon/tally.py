"""Counting: added up in memory, written once a second for all sessions in one statement."""

import logging
import uuid
from collections import Counter
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from models import clock
from models.database import Sessions
from models.services import sessions
from models.services.sessions import Count

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
# A session with an open but quiet exchange (a tunnel, a long poll) is marked as in use this often.
TOUCH_SECONDS = 30.0


class Tally:
    """Requests and body bytes by session since the last flush. Only the loop touches it."""

    def __init__(self, factory: Sessions) -> None:
        self._factory = factory
        self._counts: dict[uuid.UUID, Count] = {}
        self._open: Counter[uuid.UUID] = Counter()
        self._touched = 0.0

    @property
    def backlog(self) -> int:
        """How many sessions have counts that are not in the database yet."""
        return len(self._counts)

    def opened(self, session_id: uuid.UUID) -> None:
        """An exchange of this session begins: one request more, and the session is in use until it is closed."""
        self._open[session_id] += 1
        self.add(session_id, requests=1)

    def closed(self, session_id: uuid.UUID) -> None:
        """An exchange that was `opened` is over."""
        self._open[session_id] -= 1
        if self._open[session_id] <= 0:
            del self._open[session_id]

    def add(self, session_id: uuid.UUID, *, requests: int = 0, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Count something that happened now; all zeros mark the session as in use."""
        self._merge(Count(session_id, requests, bytes_in, bytes_out, clock.now()))

    def take(self, now: float) -> list[Count]:
        """Hand over everything that was counted, and start again from nothing; `now` is the loop's time."""
        if now - self._touched >= TOUCH_SECONDS:
            self._touched = now
            for session_id in self._open:
                self.add(session_id)
        counts, self._counts = list(self._counts.values()), {}
        return counts

    def put_back(self, counts: list[Count]) -> None:
        """Take counts back that could not be written; they go with the next flush."""
        for count in counts:
            self._merge(count)

    def write(self, counts: list[Count]) -> bool:
        """Write counts in a transaction of their own (blocking); returns whether that worked."""
        try:
            with self._factory.begin() as session:
                sessions.add_counts(session, counts)
        except SQLAlchemyError as error:
            logger.warning("counts wait for the database: %s", type(error).__name__)
            return False
        return True

    def _merge(self, more: Count) -> None:
        have = self._counts.get(more.session_id)
        if have is None:
            self._counts[more.session_id] = more
            return
        later: datetime = max(have.last_activity, more.last_activity)
        self._counts[more.session_id] = Count(
            more.session_id,
            have.requests + more.requests,
            have.bytes_in + more.bytes_in,
            have.bytes_out + more.bytes_out,
            later,
        )
