"""The last requests and refusals of a token, read from Redis, where the workers leave them."""

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
from models.services.gateway.recent_requests import Seen
from portal.request import context

logger = logging.getLogger(__name__)

# The page has more to show than this, so it does not wait for long.
TIMEOUT_SECONDS = 0.5


def requests(token_id: uuid.UUID) -> Sequence[Seen] | None:
    """Return a token's last requests, newest first; None while Redis does not answer."""
    return _read(
        recent_requests.requests_key(token_id), recent_requests.REQUESTS_KEPT, recent_requests.REQUESTS_SECONDS
    )


def refusals(token_id: uuid.UUID) -> Sequence[Seen] | None:
    """Return a token's last refusals, newest first; None while Redis does not answer."""
    return _read(
        recent_requests.refusals_key(token_id), recent_requests.REFUSALS_KEPT, recent_requests.REFUSALS_SECONDS
    )


def _read(key: str, most: int, seconds: int) -> Sequence[Seen] | None:
    try:
        lines = cast(list[bytes], redis().lrange(key, 0, most - 1))
        return recent_requests.decode(lines, since=clock.now() - timedelta(seconds=seconds))
    except RedisError as error:
        logger.warning("the last requests cannot be read: %s", type(error).__name__)
        return None


def redis() -> Redis:
    """Return this process's way to what the workers leave; it is not waited for."""
    return _redis(context.frozen_settings().redis.url)


@cache
def _redis(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=TIMEOUT_SECONDS, socket_timeout=TIMEOUT_SECONDS)
