"""The scheduler process: `python -m jobs.scheduler`."""

import logging
import os
import signal
import sys
import time

from redis import Redis
from redis.exceptions import RedisError

from jobs import renamed, schedule
from models.config import settings as config

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Longest sleep: the heartbeat has to be renewed (jobs.queues.SCHEDULER_SECONDS).
MAX_SLEEP_SECONDS = 5.0
# Shortest one, while another scheduler holds the lock or the clock is stepped.
MIN_SLEEP_SECONDS = 0.5


class ScheduleRunner:
    """Enqueues due jobs. Several may run; a lock in Redis lets one enqueue at a time."""

    def __init__(self, connection: Redis) -> None:
        self._scheduler = schedule.scheduler(connection)
        self._is_started = self._is_failing = False

    def run_pending(self) -> float:
        """Enqueue the due jobs; return the seconds until the next one is due, five at most.

        While Redis is down, this only logs, once.
        """
        try:
            wait = self.run_pending_or_raise()
        except RedisError as error:
            if not self._is_failing:
                logger.error("no job is scheduled: Redis does not answer: %s", error)
            # A Redis that comes back may be empty.
            self._is_failing, self._is_started = True, False
            return MAX_SLEEP_SECONDS
        self._is_failing = False
        return wait

    def run_pending_or_raise(self) -> float:
        """Enqueue the due jobs; return the seconds until the next one is due. Raises RedisError."""
        scheduler = self._scheduler
        if not self._is_started:
            schedule.reconcile(scheduler)
            renamed.rename_metrics(scheduler.connection)
            scheduler.register_birth()
            self._is_started = True
        scheduler.heartbeat()
        if scheduler.acquire_lock():
            try:
                scheduler.enqueue_jobs()
            finally:
                scheduler.remove_lock()
        due: float = scheduler.seconds_until_due()
        return min(max(due, MIN_SLEEP_SECONDS), MAX_SLEEP_SECONDS)

    def stop(self) -> None:
        """Remove heartbeat and lock, so that nobody waits for them to expire."""
        try:
            self._scheduler.remove_lock()
            self._scheduler.register_death()
        except RedisError as error:
            logger.warning("the scheduler's heartbeat stays until it expires: %s", error)


def use_utc() -> None:
    """Make UTC this process's time zone: rq-scheduler computes cron times in local time."""
    os.environ["TZ"] = "UTC"
    time.tzset()


def main() -> int:
    """Reconcile the schedule and enqueue due jobs until stopped.

    Exits when Redis is down; the supervisor restarts it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    use_utc()
    runner = ScheduleRunner(Redis.from_url(config.load_settings().redis.url))
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        while signal.sigtimedwait(SIGNALS, runner.run_pending_or_raise()) is None:
            pass
    except RedisError as error:
        logger.error("the scheduler ends: Redis does not answer: %s", error)
        return 1
    runner.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
