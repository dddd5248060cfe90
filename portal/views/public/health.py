"""Health endpoints of the portal, for the desktop client and orchestrators."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from functools import cache

from flask import Blueprint, Response, jsonify
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models import clock
from models.api_keys import KeyScope
from models.config.server import Upstream
from models.services.gateway import outages
from models.services.monitoring import health_report as rules
from models.services.monitoring.health_report import Check, Report
from portal.api import authentication
from portal.extensions import db
from portal.request import auth, context
from portal.template_filters import iso

blueprint = Blueprint("health", __name__)

# The desktop client's timeout is five seconds, so a hanging component must not delay the response.
TIMEOUT_SECONDS = 2.0
_checks = ThreadPoolExecutor(max_workers=6, thread_name_prefix="health")


@blueprint.get("/health")
@blueprint.get("//health")
def health() -> Response:
    """Return `unhealthy` without database or Redis, `degraded` while the upstream is down; always with HTTP 200."""
    report = _run_checks()
    return _json_response(report, {part: check.word for part, check in report.items()})


@blueprint.get("/health/detailed")
@authentication.needs(KeyScope.ADMIN)
def detailed() -> Response:
    """Return the latency of each component, for superusers and the ops networks.

    Uses the last report of the scheduled checks; without one, the components are checked now.
    """
    if not auth.is_from_ops():
        authentication.admit()
    report = _last_report() or _run_checks()
    checks = {
        part: {
            "status": check.word,
            "latency_ms": None if check.seconds is None else round(check.seconds * 1000, 3),
            "checked_at": check.asked_at and check.asked_at.replace("+00:00", "Z"),
        }
        for part, check in report.items()
    }
    return _json_response(report, checks)


def _json_response(report: Report, checks: Mapping[str, object]) -> Response:
    answer = jsonify(status=rules.status_of(report), timestamp=iso(clock.now()), checks=checks)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _last_report() -> Report | None:
    try:
        return rules.from_json(_redis(context.frozen_settings().redis.url).get(rules.REPORT_KEY))
    except RedisError:
        return None


def _run_checks() -> Report:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    # Not the settings changed at run time: they are in the database, which may hang.
    settings = context.frozen_settings()
    upstream = _checks.submit(_upstream, settings.redis.url, db.engine, settings.upstream)
    asked = {
        "database": _checks.submit(_timed, _database_responds, db.engine),
        "redis": _checks.submit(_timed, _redis_responds, settings.redis.url),
    }
    report = {part: _result_or(answer, deadline, Check(is_up=False)) for part, answer in asked.items()}
    return report | {"upstream": _result_or(upstream, deadline, Check(None))}


def _result_or(answer: Future[Check], deadline: float, otherwise: Check) -> Check:
    """Return the result of a check, or a default when it is late."""
    try:
        return answer.result(max(0.0, deadline - time.monotonic()))
    except Late:
        return otherwise


def _timed[Part](answers: Callable[[Part], bool], part: Part) -> Check:
    asked_at, started = clock.now().isoformat(timespec="seconds"), time.monotonic()
    is_up = answers(part)
    return Check(is_up, time.monotonic() - started if is_up else None, asked_at)


def _database_responds(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(text("SELECT 1")))
    except SQLAlchemyError:
        return False


def _redis_responds(url: str) -> bool:
    try:
        return bool(_redis(url).ping())
    except RedisError:
        return False


def _upstream(url: str, engine: Engine, upstream: Upstream) -> Check:
    """Return the proxy's last health check of the upstream, else the outage record, else unknown."""
    try:
        state = outages.state_from_json(_redis(url).get(outages.STATE_KEY), upstream.url)
        if state is not None:
            return Check(state.is_up, state.seconds, state.asked_at)
    except RedisError:
        pass
    try:
        with Session(engine) as session:
            return Check(None if outages.current_outage(session, upstream.probe_gap) is None else False)
    except SQLAlchemyError:
        return Check(None)


@cache
def _redis(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
