"""`/metrics` of the portal for the ops networks: requests, user events and business figures.

Requests and statements are counted by prometheus_client, over all gunicorn processes when PROMETHEUS_MULTIPROC_DIR
names a folder. Each process counts events of users and jobs in Redis (models/metrics/audit_counters.py); gauges
are read on each scrape (portal/status/metrics_collector.py).
"""

import logging
import time
from collections.abc import Iterable
from functools import cache
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Blueprint, Flask, Response, abort, current_app
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_flask_exporter import PrometheusMetrics
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, event

from models.config.settings import Settings
from models.metrics import audit_counters
from models.metrics.catalogue import LATENCY, PORTAL
from models.metrics.prometheus import CONTENT_TYPE
from portal.extensions import db
from portal.request import auth
from portal.status import metrics_collector

logger = logging.getLogger(__name__)

# The method is a metric label: each invented method would create permanent series.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# First words of SQL statements; everything else, such as SET, is "other".
_STATEMENT_KINDS = frozenset({"select", "insert", "update", "delete", "with"})


def init_app(app: Flask, settings: Settings) -> None:
    """Set up the metrics and the /metrics endpoint."""
    # Disable the second gauge for each series, which nothing reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types there
    redis = Redis.from_url(settings.redis.url, socket_timeout=1, socket_connect_timeout=1)
    app.extensions["metrics"] = redis
    _count_commits()
    requests = PrometheusMetrics(
        app,
        path=None,
        group_by="endpoint",
        defaults_prefix="portal",
        buckets=LATENCY,
        registry=CollectorRegistry(),
        excluded_paths=["^/static/", "^/metrics$"],
    )
    app.wsgi_app = _NormaliseMethod(app.wsgi_app)  # type: ignore[method-assign]
    with app.app_context():
        _time_statements(db.engine, requests.registry)
    shop = metrics_collector.MetricsCollector(redis)

    page = Blueprint("metrics", __name__)  # a view of the app itself would stand in the JSON API's document

    @page.get("/metrics")
    def show() -> Response:
        if not auth.is_from_ops():
            abort(403)
        text, _ = requests.generate_metrics("text/plain")
        answer = Response(text.encode() + shop.text(), content_type=CONTENT_TYPE)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    app.register_blueprint(page)


class _NormaliseMethod:
    """Middleware that replaces unknown methods by INVALID, as the gateway's metrics do."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in _METHODS:
            environ["REQUEST_METHOD"] = "INVALID"
        return self._app(environ, start_response)


@cache
def _count_commits() -> None:
    """Count audit rows on commit; once per process, since all apps share the session factory."""
    audit_counters.follow(db.session, lambda totals: add_to_totals(current_app.extensions["metrics"], totals))


def _time_statements(engine: Engine, registry: CollectorRegistry) -> None:
    """Measure the duration of each SQL statement of an engine."""
    declared = next(metric for metric in PORTAL if metric.name == "db_query_duration_seconds")
    took = Histogram(declared.name, declared.text, declared.labels, buckets=declared.buckets, registry=registry)

    @event.listens_for(engine, "before_cursor_execute")
    def begin(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        context.zenzefi_began = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def end(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        word = statement.lstrip()[:6].split(None, 1)[0].lower() if statement.strip() else ""
        kind = word if word in _STATEMENT_KINDS else "other"
        took.labels(kind).observe(time.perf_counter() - context.zenzefi_began)


def add_to_totals(redis: Redis, totals: audit_counters.Totals) -> None:
    """Add to the totals of all processes; while Redis is down the counts are lost."""
    try:
        with redis.pipeline(transaction=False) as pipeline:
            for name, by in totals.items():
                pipeline.hincrby(audit_counters.TOTALS_KEY, name, by)
            pipeline.execute()
    except RedisError as error:
        logger.warning("metrics not counted: %s (%s)", ", ".join(totals), type(error).__name__)
