"""What every job needs: the settings and a way to the database, made once in a process, on first use."""

import logging
from functools import cache

from redis import Redis
from sqlalchemy.exc import SQLAlchemyError

from jobs import metrics
from models import database
from models.config import settings as config
from models.metrics import audit_counters
from models.services.settings.overrides import CachedSettings

logger = logging.getLogger(__name__)


@cache
def settings_at_start() -> CachedSettings:
    """Return the settings of this process as it was started, which know what was changed since."""
    return CachedSettings(config.load_settings())


def settings() -> config.Settings:
    """Return the settings that are good now, or were a second ago at most."""
    try:
        with sessions()() as session:
            return settings_at_start().get(session)
    except SQLAlchemyError as error:
        logger.warning("the settings of run time cannot be read: %s", type(error).__name__)
        return settings_at_start().known


@cache
def sessions() -> database.Sessions:
    """Return the factory of sessions of this process."""
    made = database.sessions(database.connect(settings_at_start().frozen.database))
    audit_counters.follow(made, count)
    return made


def count(totals: audit_counters.Totals) -> None:
    """Add what a job has done to the metrics' totals."""
    if totals:
        with Redis.from_url(settings_at_start().frozen.redis.url, socket_timeout=1, socket_connect_timeout=1) as redis:
            metrics.add(redis, totals)
