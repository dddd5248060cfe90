"""`/metrics` for the ops networks: the portal's requests, what people do, and how much there is of everything.

Requests are counted by prometheus-flask-exporter, over all gunicorn processes when PROMETHEUS_MULTIPROC_DIR names a
folder. What people do is counted by every process that does it, in Redis (models/counters.py). How much there is is
asked of the database and of the queues when somebody looks, at most every few seconds.
"""

import logging
import time
from collections.abc import Iterator
from functools import cache

from flask import Blueprint, Flask, Response, abort, current_app
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from sqlalchemy.exc import SQLAlchemyError

from jobs.queues import QUEUE, SLOW_QUEUE
from models import clock, counters
from models.config import Settings
from models.services import overview
from portal import access
from portal.extensions import db

logger = logging.getLogger(__name__)

KEPT_SECONDS = 5.0
BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTERS = {
    "auth_attempts": ("Logins that were tried, by result.", "result"),
    "token_purchases": ("Tokens that were sold, those of bundles included, by duration.", "duration_hours"),
    "token_revocations": ("Tokens that were ended by their owners or by admins.", ""),
    "balance_deposits": ("Payments that were credited.", ""),
}


def init_app(app: Flask, settings: Settings) -> None:
    """Count from now on, and answer at /metrics."""
    redis = Redis.from_url(settings.redis.url, socket_timeout=1, socket_connect_timeout=1)
    app.extensions["metrics"] = redis
    _follow_commits()
    requests = PrometheusMetrics(
        app,
        path=None,
        group_by="endpoint",
        defaults_prefix="portal",
        buckets=BUCKETS,
        registry=CollectorRegistry(),
        excluded_paths=["^/static/", "^/metrics$"],
    )
    shop = CollectorRegistry(auto_describe=False)
    shop.register(_Shop(redis))

    page = Blueprint("metrics", __name__)  # a view of the app itself would stand in the JSON API's document

    @page.get("/metrics")
    def show() -> Response:
        if not access.is_from_ops():
            abort(403)
        text, content_type = requests.generate_metrics()
        answer = Response(text.encode() + generate_latest(shop), content_type=content_type)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    app.register_blueprint(page)


@cache
def _follow_commits() -> None:
    """Listen to the one factory of sessions that all apps of a process share, once."""
    counters.follow(db.session, lambda totals: add(current_app.extensions["metrics"], totals))


def add(redis: Redis, totals: counters.Totals) -> None:
    """Add to the totals of all processes. With Redis down they are short of it, and nothing else is."""
    try:
        with redis.pipeline(transaction=False) as pipeline:
            for name, by in totals.items():
                pipeline.hincrby(counters.TOTALS_KEY, name, by)
            pipeline.execute()
    except RedisError as error:
        logger.warning("not counted for the metrics: %s (%s)", ", ".join(totals), type(error).__name__)


class _Shop(Collector):
    """What is asked when somebody looks; an answer is kept for a moment, since anybody in ops may look at any rate."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._made_at = float("-inf")
        self._made: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; what a part that is down would have said is left out."""
        if time.monotonic() - self._made_at > KEPT_SECONDS:
            self._made = [*_of_database(), *_of_redis(self._redis)]
            self._made_at = time.monotonic()
        yield from self._made


def _of_database() -> Iterator[Metric]:
    try:
        figures = overview.of_shop(db.session())
    except SQLAlchemyError:
        db.session.rollback()
        yield GaugeMetricFamily("database_connected", "Whether PostgreSQL answers the portal.", 0)
        return
    yield GaugeMetricFamily("database_connected", "Whether PostgreSQL answers the portal.", 1)
    yield GaugeMetricFamily("user_count", "Accounts there are.", figures.users)
    yield GaugeMetricFamily("active_tokens", "Tokens whose clock runs.", figures.running_tokens)
    yield GaugeMetricFamily("active_sessions", "Proxy sessions that are open.", figures.open_sessions)
    yield GaugeMetricFamily(
        "payments_pending", "Payments that their buyers have not made yet.", figures.pending_payments
    )


def _of_redis(redis: Redis) -> Iterator[Metric]:
    try:
        totals = _totals(redis)
        queues = [_of_queue(Queue(name, connection=redis)) for name in (QUEUE, SLOW_QUEUE)]
    except RedisError:
        yield GaugeMetricFamily("redis_connected", "Whether Redis answers the portal.", 0)
        return
    yield GaugeMetricFamily("redis_connected", "Whether Redis answers the portal.", 1)
    for name, (text, label) in _COUNTERS.items():
        family = CounterMetricFamily(name, text, labels=[label] if label else [])
        found = {key.partition("|")[2]: count for key, count in totals.items() if key.partition("|")[0] == name}
        for value, count in sorted((found or ({} if label else {"": 0})).items()):
            family.add_metric([value] if label else [], count)
        yield family
    for name, text in _QUEUES.items():
        gauge = GaugeMetricFamily(name, text, labels=["queue"])
        for queue, values in queues:
            gauge.add_metric([queue], values[name])
        yield gauge


def _totals(redis: Redis) -> dict[str, int]:
    found: dict[bytes, bytes] = redis.hgetall(counters.TOTALS_KEY)  # type: ignore[assignment]  # nothing is decoded
    return {name.decode(): int(count) for name, count in found.items()}


_QUEUES = {
    "jobs_waiting": "Jobs that wait in the queue.",
    "jobs_oldest_seconds": "How long the first of them has waited.",
    "jobs_failed": "Jobs that failed and are kept.",
}


def _of_queue(queue: Queue) -> tuple[str, dict[str, float]]:
    first = next(iter(queue.get_jobs(0, 1)), None)
    waited = (clock.now() - first.enqueued_at).total_seconds() if first and first.enqueued_at else 0.0
    figures = {
        "jobs_waiting": queue.count,
        "jobs_oldest_seconds": waited,
        "jobs_failed": queue.failed_job_registry.count,
    }
    return queue.name, figures
