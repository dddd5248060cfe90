"""How the portal is: one small page that always answers, for the desktop client and for orchestrators."""

import time
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
from models.sections import Upstream
from models.services import outages
from portal import current
from portal.extensions import db
from portal.formats import iso

blueprint = Blueprint("health", __name__)

# The desktop client gives up after five seconds, so a part that hangs must not take us along.
PATIENCE_SECONDS = 2.0
_WORDS = {True: "up", False: "down", None: "unknown"}
_checks = ThreadPoolExecutor(max_workers=6, thread_name_prefix="health")


@blueprint.get("/health")
@blueprint.get("//health")
def health() -> Response:
    """Say `unhealthy` without database or Redis, `degraded` while the upstream is out; always with HTTP 200."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    settings = current.settings()
    upstream = _checks.submit(_upstream_is_up, settings.redis.url, db.engine, settings.upstream)
    asked = {
        "database": _checks.submit(_database_answers, db.engine),
        "redis": _checks.submit(_redis_answers, settings.redis.url),
    }
    parts = {name: bool(_in_time(answer, deadline)) for name, answer in asked.items()}
    is_up = _in_time(upstream, deadline)
    status = "unhealthy" if not all(parts.values()) else "degraded" if is_up is False else "healthy"
    checks = {name: _WORDS[is_well] for name, is_well in (*parts.items(), ("upstream", is_up))}
    answer = jsonify(status=status, timestamp=iso(clock.now()), checks=checks)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _in_time(answer: Future[bool] | Future[bool | None], deadline: float) -> bool | None:
    """Return what a check found; None when it is late or knows nothing."""
    try:
        return answer.result(max(0.0, deadline - time.monotonic()))
    except Late:
        return None


def _database_answers(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(text("SELECT 1")))
    except SQLAlchemyError:
        return False


def _redis_answers(url: str) -> bool:
    try:
        return bool(_redis(url).ping())
    except RedisError:
        return False


def _upstream_is_up(url: str, engine: Engine, upstream: Upstream) -> bool | None:
    """Return the proxy's last word on the upstream, or without it the outage record; None when nobody knows."""
    try:
        state = outages.state_from_json(_redis(url).get(outages.STATE_KEY), upstream.url)
        if state is not None:
            return state.is_up
    except RedisError:
        pass
    try:
        with Session(engine) as session:
            return None if outages.current(session, upstream.probe_gap) is None else False
    except SQLAlchemyError:
        return None


@cache
def _redis(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
