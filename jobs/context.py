"""Settings and database sessions of jobs, created once per process on first use."""

import logging
from functools import cache

from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from jobs import metrics
from jobs.queues import wake
from models import database
from models.config import settings as config
from models.metrics import audit_counters
from models.services.notifications import wake_ups
from models.services.settings.overrides import CachedSettings

logger = logging.getLogger(__name__)


@cache
def settings_at_start() -> CachedSettings:
    """Return this process's start-up settings, with a cache of the run-time overrides."""
    return CachedSettings(config.load_settings())


def settings() -> config.Settings:
    """Return the effective settings, at most one second old."""
    try:
        with sessions()() as session:
            return settings_at_start().get(session)
    except SQLAlchemyError as error:
        logger.warning("run-time settings cannot be read: %s", type(error).__name__)
        return settings_at_start().known


@cache
def sessions() -> database.Sessions:
    """Return this process's session factory."""
    made = database.sessions(database.connect(settings_at_start().frozen.database))
    audit_counters.follow(made, count)
    wake_ups.follow(made, lambda jobs: wake(redis(), jobs))
    return made


def connections_in_use() -> int:
    """Return how many database connections of this process are in use; between two jobs none should be."""
    if not sessions.cache_info().currsize:
        return 0
    engine: Engine = sessions().kw["bind"]
    pool = engine.pool
    return pool.checkedout() if isinstance(pool, QueuePool) else 0


def count(totals: audit_counters.Totals) -> None:
    """Add a job's counts to the metrics' totals in Redis."""
    if totals:
        metrics.add(redis(), totals)


@cache
def redis() -> Redis:
    """Return this process's connection to Redis for metrics; a slow Redis must not hold up a job."""
    return Redis.from_url(settings_at_start().frozen.redis.url, socket_timeout=1, socket_connect_timeout=1)
