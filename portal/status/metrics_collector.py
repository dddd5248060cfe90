"""Business metrics that `/metrics` reads on each scrape: figures from the database, counts and queues from Redis.

The result is cached for a few seconds, since scrapes may come at any rate.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker
from sqlalchemy.exc import SQLAlchemyError

from jobs import queues
from models import clock
from models.metrics import audit_counters, prometheus
from models.metrics.catalogue import PORTAL
from models.metrics.prometheus import GaugeValues, Totals
from models.services.monitoring import business_metrics, last_success
from portal.extensions import db

CACHE_SECONDS = 5.0

type Found = dict[str, dict[tuple[str, ...], float]]


class MetricsCollector:
    """The metrics of the whole installation, collected by one thread at a time."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._asking = threading.Lock()
        self._made_at = float("-inf")
        self._made = b""

    def text(self) -> bytes:
        """Return the metrics as Prometheus text, without those of a component that is down."""
        with self._asking:
            if time.monotonic() - self._made_at > CACHE_SECONDS:
                figures: GaugeValues = collect_from_database(db.session) | collect_from_redis(self._redis)
                families = prometheus.families(PORTAL, figures, _totals_or_none(lambda: totals(self._redis)))
                self._made, self._made_at = prometheus.text_of(families), time.monotonic()
            return self._made


def collect_from_database(sessions: Any) -> Found:
    """Return the figures from the database."""
    try:
        found = _business_figures(business_metrics.collect(sessions()))
    except SQLAlchemyError:
        sessions.rollback()
        return {"database_connected": {(): 0}}
    return {"database_connected": {(): 1}, **found}


def _business_figures(now: business_metrics.BusinessMetrics) -> Found:
    shop, check = now.shop, now.check
    found: Found = {
        "user_count": {(): shop.users},
        "active_tokens": {(): shop.running_tokens},
        "active_sessions": {(): shop.open_sessions},
        "payments_pending": {(): shop.pending_payments},
        "payments_to_review": {(): now.to_review},
        "ledger_account_znc": {(kind,): float(balance) for kind, balance in now.accounts.items()},
        "backlog_waiting": {(name,): each.count for name, each in now.waiting.items()},
        "backlog_oldest_seconds": {(name,): each.due_seconds for name, each in now.waiting.items()},
        "backlog_given_up": {(name,): each.given_up for name, each in now.waiting.items() if each.given_up is not None},
    }
    if check is not None:
        found["ledger_verified_timestamp_seconds"] = {(): check.checked_at.timestamp()}
        found["ledger_sound"] = {(): int(check.is_sound)}
    if (log := now.audit_check) is not None:
        found["audit_verified_timestamp_seconds"] = {(): log.checked_at.timestamp()}
        found["audit_sound"] = {(): int(log.is_sound)}
    return found


def collect_from_redis(redis: Redis) -> Found:
    """Return the figures from Redis and its queues."""
    try:
        found = _queue_figures(redis)
        ended: dict[bytes, bytes] = redis.hgetall(last_success.JOBS_KEY)  # type: ignore[assignment]  # nothing is decoded
        backup = last_success.backup_from_json(redis.get(last_success.BACKUP_KEY))
    except RedisError:
        return {"redis_connected": {(): 0}}
    found["job_last_success_timestamp_seconds"] = {(name.decode(),): float(at) for name, at in ended.items()}
    if backup is not None:
        found["backup_last_success_timestamp_seconds"] = {(): backup.made_at}
        found["backup_size_bytes"] = {(): backup.size}
    return {"redis_connected": {(): 1}, **found}


def _queue_figures(redis: Redis) -> Found:
    found_queues = [Queue(name, connection=redis) for name in (queues.QUEUE, queues.SLOW_QUEUE)]
    each: dict[str, Callable[[Queue], float]] = {
        "jobs_waiting": lambda queue: queue.count,
        "jobs_oldest_seconds": _oldest_age_seconds,
        "jobs_failed": lambda queue: queue.failed_job_registry.count,
        "job_workers": lambda queue: len(Worker.all(queue=queue)),
    }
    found: Found = {name: {(queue.name,): float(ask(queue)) for queue in found_queues} for name, ask in each.items()}
    return found | {"job_scheduler_up": {(): int(queues.is_scheduler_alive(redis))}}


def _oldest_age_seconds(queue: Queue) -> float:
    first = next(iter(queue.get_jobs(0, 1)), None)
    return (clock.now() - first.enqueued_at).total_seconds() if first and first.enqueued_at else 0.0


def totals(redis: Redis) -> Totals:
    """Return the totals of all processes. Raises RedisError."""
    found: dict[bytes, bytes] = redis.hgetall(audit_counters.TOTALS_KEY)  # type: ignore[assignment]  # nothing is decoded
    return {tuple(name.decode().split("|")): int(count) for name, count in found.items()}


def _totals_or_none(ask: Callable[[], Totals]) -> Totals | None:
    try:
        return ask()
    except RedisError:
        return None
