"""Health check job: database, Redis and upstream."""

import time
from collections.abc import Callable

from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from jobs import context
from jobs.queues import queue
from models import clock
from models.services.gateway import outages
from models.services.monitoring import health_report
from models.services.monitoring.health_report import Check


def check() -> str:
    """Check database and Redis, read the last upstream probe, store the report in Redis; return the status.

    While Redis is down this does not run and the last report expires after two minutes; portal and proxy then check for
    themselves.
    """
    redis = queue().connection
    report = {
        "database": _timed(_ask_database),
        "redis": _timed(redis.ping),
        "upstream": _upstream(redis.get(outages.STATE_KEY)),
    }
    redis.set(health_report.REPORT_KEY, health_report.as_json(report), ex=health_report.KEPT_SECONDS)
    return health_report.status_of(report)


def _timed(ask: Callable[[], object]) -> Check:
    asked_at, started = clock.now().isoformat(timespec="seconds"), time.monotonic()
    try:
        ask()
    except (SQLAlchemyError, RedisError):
        return Check(is_up=False, asked_at=asked_at)
    return Check(is_up=True, seconds=time.monotonic() - started, asked_at=asked_at)


def _ask_database() -> None:
    with context.sessions()() as session:
        session.execute(text("SELECT 1"))


def _upstream(stored: str | bytes | None) -> Check:
    state = outages.state_from_json(stored, context.settings().upstream.url)
    return Check(None) if state is None else Check(state.is_up, state.seconds, state.asked_at)
