"""The scheduler process: `python -m jobs.scheduler`."""

import logging
import os
import time

from redis import Redis
from redis.exceptions import RedisError

from jobs import renamed, schedule
from models.config import settings as config

logger = logging.getLogger(__name__)


def main() -> None:
    """Reconcile the schedule and enqueue due jobs until stopped.

    Exits when Redis is down; the supervisor restarts it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.environ["TZ"] = "UTC"
    time.tzset()
    timetable = schedule.scheduler(Redis.from_url(config.load_settings().redis.url))
    try:
        schedule.reconcile(timetable)
        renamed.rename_metrics(timetable.connection)
        timetable.run()
    except RedisError as error:
        logger.error("the scheduler ends: Redis does not answer: %s", error)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
