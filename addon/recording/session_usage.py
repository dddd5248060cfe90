"""Usage counters of sessions: added up in memory, written once a second in one statement."""

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
    """What one session's exchanges have carried since the last flush, and how many of them are open."""

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
        """An exchange that was `opened` is over."""
        self.open -= 1
        self.is_changed = True


class SessionUsage:
    """The sums of all sessions that are in use here. Only the loop touches it."""

    def __init__(self, factory: Sessions) -> None:
        self._factory = factory
        self._counters: dict[uuid.UUID, UsageCounters] = {}
        # What was taken and could not be written.
        self._unwritten: dict[uuid.UUID, SessionCounts] = {}
        self._touched_at = 0.0
        self._is_failing = False

    @property
    def backlog(self) -> int:
        """How many sessions have counts that are not in the database yet."""
        fresh = {session_id for session_id, total in self._counters.items() if total.is_changed}
        return len(fresh | self._unwritten.keys())

    def start_exchange(self, session_id: uuid.UUID) -> UsageCounters:
        """An exchange of this session begins: one request more, and the session is in use until the sum is closed."""
        total = self._counters.get(session_id)
        if total is None:
            total = self._counters[session_id] = UsageCounters()
        total.open += 1
        total.requests += 1
        total.is_changed = True
        return total

    def take(self, now: float) -> list[SessionCounts]:
        """Hand over everything that was counted, and start again from nothing; `now` is the loop's time.

        A session that was used since the last flush was last active at this flush: to the second is exact enough.
        """
        touches = now - self._touched_at >= TOUCH_SECONDS
        if touches:
            self._touched_at = now
        moment = clock.now()
        counts, self._unwritten = self._unwritten, {}
        for session_id, total in list(self._counters.items()):
            if total.is_changed or (touches and total.open):
                count = SessionCounts(session_id, total.requests, total.bytes_in, total.bytes_out, moment)
                waiting = counts.get(session_id)
                counts[session_id] = count if waiting is None else _sum(waiting, count)
                total.requests = total.bytes_in = total.bytes_out = 0
                total.is_changed = False
            if not total.open:
                del self._counters[session_id]
        return list(counts.values())

    def restore(self, counts: list[SessionCounts]) -> None:
        """Take counts back that could not be written; they go with the next flush."""
        for count in counts:
            waiting = self._unwritten.get(count.session_id)
            self._unwritten[count.session_id] = count if waiting is None else _sum(waiting, count)

    def write(self, counts: list[SessionCounts]) -> bool:
        """Write counts in a transaction of their own (blocking); returns whether that worked."""
        try:
            with self._factory.begin() as session:
                usage_counts.add_counts(session, counts)
        except SQLAlchemyError as error:
            if not self._is_failing:
                logger.warning("counts wait for the database: %s", type(error).__name__)
            self._is_failing = True
            return False
        self._is_failing = False
        return True


def _sum(one: SessionCounts, more: SessionCounts) -> SessionCounts:
    return SessionCounts(
        one.session_id,
        one.requests + more.requests,
        one.bytes_in + more.bytes_in,
        one.bytes_out + more.bytes_out,
        max(one.last_activity, more.last_activity),
    )
