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

from models import clock
from portal import current
from portal.extensions import db
from portal.formats import iso

blueprint = Blueprint("health", __name__)

# The desktop client gives up after five seconds, so a part that hangs must not take us along.
PATIENCE_SECONDS = 2.0
_checks = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health")


@blueprint.get("/health")
@blueprint.get("//health")
def health() -> Response:
    """Say `healthy`, or `unhealthy` when database or Redis do not answer; always with HTTP 200."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    asked = {
        "database": _checks.submit(_database_answers, db.engine),
        "redis": _checks.submit(_redis_answers, current.settings().redis.url),
    }
    parts = {name: _in_time(answer, deadline) for name, answer in asked.items()}
    status = "healthy" if all(parts.values()) else "unhealthy"
    checks = {name: "up" if answers else "down" for name, answers in parts.items()}
    answer = jsonify(status=status, timestamp=iso(clock.now()), checks=checks)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _in_time(answer: Future[bool], deadline: float) -> bool:
    try:
        return answer.result(max(0.0, deadline - time.monotonic()))
    except Late:
        return False


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


@cache
def _redis(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)
