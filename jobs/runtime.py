"""What every job needs: the settings and a way to the database, made once in a process, on first use."""

import logging
from functools import cache

from redis import Redis
from redis.exceptions import RedisError

from models import config, counters, database
from models.services.runtime import Cached

logger = logging.getLogger(__name__)


@cache
def settings_at_start() -> Cached:
    """Return the settings of this process as it was started, which know what was changed since."""
    return Cached(config.load())


def settings() -> config.Settings:
    """Return the settings that are good now, or were a second ago at most."""
    with sessions()() as session:
        return settings_at_start().get(session)


@cache
def sessions() -> database.Sessions:
    """Return the factory of sessions of this process."""
    made = database.sessions(database.connect(settings_at_start().frozen.database))
    counters.follow(made, _count)
    return made


def _count(totals: counters.Totals) -> None:
    """Add what a job has done to the metrics' totals; a Redis that does not answer is no reason to fail."""
    try:
        with Redis.from_url(settings_at_start().frozen.redis.url, socket_timeout=1, socket_connect_timeout=1) as redis:
            for name, by in totals.items():
                redis.hincrby(counters.TOTALS_KEY, name, by)
    except RedisError as error:
        logger.warning("not counted for the metrics: %s (%s)", ", ".join(totals), type(error).__name__)
