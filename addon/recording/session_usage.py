"""Usage counters of sessions: added up in memory, written to PostgreSQL once a second in one statement."""

import logging
import uuid

from sqlalchemy.exc import SQLAlchemyError

from models import clock
from models.database import Sessions
from models.services.gateway import usage_counts
from models.services.gateway.usage_counts import SessionCounts

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
# A session with an open but quiet exchange (a tunnel, a long poll) is marked as in use this often.
TOUCH_SECONDS = 30.0


class UsageCounters:
    """Requests and bytes of one session since the last flush, and its number of open exchanges."""

    __slots__ = ("bytes_in", "bytes_out", "is_changed", "open", "requests")

    def __init__(self) -> None:
        self.open = 0
        self.requests = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.is_changed = False

    def count_bytes(self, bytes_in: int, bytes_out: int) -> None:
        """Count body bytes."""
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.is_changed = True

    def end_exchange(self) -> None:
        """Count an exchange from `start_exchange` as ended."""
        self.open -= 1
        self.is_changed = True


class SessionUsage:
    """The counters of all sessions in use at this worker. Used on the event loop only."""

    def __init__(self, factory: Sessions) -> None:
        self._factory = factory
        self._counters: dict[uuid.UUID, UsageCounters] = {}
        # Counts that were taken and could not be written.
        self._unwritten: dict[uuid.UUID, SessionCounts] = {}
        self._touched_at = 0.0
        self._is_failing = False

    @property
    def backlog(self) -> int:
        """The number of sessions with counts that are not in the database yet."""
        changed = {session_id for session_id, counters in self._counters.items() if counters.is_changed}
        return len(changed | self._unwritten.keys())

    def start_exchange(self, session_id: uuid.UUID) -> UsageCounters:
        """Count a request of this session, which is in use until the exchange is reported as ended."""
        counters = self._counters.get(session_id)
        if counters is None:
            counters = self._counters[session_id] = UsageCounters()
        counters.open += 1
        counters.requests += 1
        counters.is_changed = True
        return counters

    def take(self, now: float) -> list[SessionCounts]:
        """Return and reset the counts; `now` is the event loop's time.

        The last activity of a session that was used since the last flush is this flush: exact to the second.
        """
        touches = now - self._touched_at >= TOUCH_SECONDS
        if touches:
            self._touched_at = now
        moment = clock.now()
        counts, self._unwritten = self._unwritten, {}
        for session_id, counters in list(self._counters.items()):
            if counters.is_changed or (touches and counters.open):
                count = SessionCounts(session_id, counters.requests, counters.bytes_in, counters.bytes_out, moment)
                unwritten = counts.get(session_id)
                counts[session_id] = count if unwritten is None else _sum(unwritten, count)
                counters.requests = counters.bytes_in = counters.bytes_out = 0
                counters.is_changed = False
            if not counters.open:
                del self._counters[session_id]
        return list(counts.values())

    def restore(self, counts: list[SessionCounts]) -> None:
        """Keep counts that could not be written for the next flush."""
        for count in counts:
            unwritten = self._unwritten.get(count.session_id)
            self._unwritten[count.session_id] = count if unwritten is None else _sum(unwritten, count)

    def write(self, counts: list[SessionCounts]) -> bool:
        """Write counts in one transaction (blocking); return whether that succeeded."""
        try:
            with self._factory.begin() as session:
                usage_counts.add_counts(session, counts)
        except SQLAlchemyError as error:
            if not self._is_failing:
                logger.warning("usage counts cannot be written yet: %s", type(error).__name__)
            self._is_failing = True
            return False
        self._is_failing = False
        return True


def _sum(first: SessionCounts, second: SessionCounts) -> SessionCounts:
    return SessionCounts(
        first.session_id,
        first.requests + second.requests,
        first.bytes_in + second.bytes_in,
        first.bytes_out + second.bytes_out,
        max(first.last_activity, second.last_activity),
    )
