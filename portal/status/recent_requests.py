"""Recent requests and rejections of a token, which the proxy workers store in Redis."""

import logging
import uuid
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

from models import clock
from models.services.gateway import recent_requests
from models.services.gateway.recent_requests import RecentRequest
from portal.request import context

logger = logging.getLogger(__name__)

# Short, because the page is useful without this.
TIMEOUT_SECONDS = 0.5


def requests(token_id: uuid.UUID) -> Sequence[RecentRequest] | None:
    """Return a token's recent requests, newest first; None while Redis is down."""
    return _read(
        recent_requests.requests_key(token_id), recent_requests.REQUESTS_KEPT, recent_requests.REQUESTS_SECONDS
    )


def refusals(token_id: uuid.UUID) -> Sequence[RecentRequest] | None:
    """Return a token's recent rejections, newest first; None while Redis is down."""
    return _read(
        recent_requests.refusals_key(token_id), recent_requests.REFUSALS_KEPT, recent_requests.REFUSALS_SECONDS
    )


def _read(key: str, most: int, seconds: int) -> Sequence[RecentRequest] | None:
    try:
        lines = cast(list[bytes], redis().lrange(key, 0, most - 1))
        return recent_requests.decode(lines, since=clock.now() - timedelta(seconds=seconds))
    except RedisError as error:
        logger.warning("cannot read recent requests: %s", type(error).__name__)
        return None


def redis() -> Redis:
    """Return this process's Redis client, with short timeouts."""
    return _redis(context.frozen_settings().redis.url)


@cache
def _redis(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=TIMEOUT_SECONDS, socket_timeout=TIMEOUT_SECONDS)
