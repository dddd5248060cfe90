"""Rate limits of the portal. Each limit is a function whose first sentence states it.

Those of logins and registrations, where only failures count, are in `portal.request.login_limits`.

The window slides and is kept in Redis for all processes together. While Redis is down each process keeps one in its
memory, with its share of the limit (limit / processes, at least one): for that time the whole portal lets through no
more than the limit, or one for each process where there are more processes than that.
"""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import cast

from flask import Flask, current_app
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from models.addresses import customer_network
from models.config.settings import Settings
from models.services.errors import TooManyAttempts
from portal.request import context

logger = logging.getLogger(__name__)

GIFT_CODES_PER_HOUR = 10
MAILED_LINKS_PER_HOUR = 10


@dataclass(frozen=True, slots=True)
class Allowance:
    """State of a limit: its size, what is left, and when the oldest request leaves the window."""

    limit: int
    remaining: int
    resets_in: timedelta
    is_over: bool = False

    @property
    def seconds(self) -> int:
        """Whole seconds until one more passes, or until the oldest one leaves; at least one."""
        return max(1, ceil(self.resets_in.total_seconds()))


class Windows:
    """Sliding windows in Redis, with a fallback in memory while Redis is down."""

    def __init__(self, settings: Settings) -> None:
        url = settings.redis.url.replace("unix://", "redis+unix://", 1)
        redis = RedisStorage(url, key_prefix="zenzefi:limit", socket_timeout=1, socket_connect_timeout=1)
        self._shared = MovingWindowRateLimiter(redis)
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._processes = settings.portal.processes * settings.platform.machines

    def take(self, limit: RateLimitItem, name: str) -> bool:
        """Count one attempt; returns False when the limit is reached."""
        return self._ask(lambda window, item: window.hit(item, name), limit)

    def resets_in(self, limit: RateLimitItem, name: str) -> timedelta:
        """Return when the oldest attempt leaves the window, so that another is allowed."""
        reset = self._ask(lambda window, item: window.get_window_stats(item, name).reset_time, limit)
        return timedelta(seconds=max(1.0, reset - time.time()))

    def allowance(self, limit: RateLimitItem, name: str, *, is_over: bool = False) -> Allowance:
        """Return the state of the limit."""
        reset, remaining = self._ask(lambda window, item: window.get_window_stats(item, name), limit)
        # An empty window resets now.
        wait = timedelta(seconds=max(0.0, reset - time.time()))
        return Allowance(limit.amount, remaining, wait, is_over)

    def _ask[T](self, question: Callable[[MovingWindowRateLimiter, RateLimitItem], T], limit: RateLimitItem) -> T:
        try:
            return question(self._shared, limit)
        except RedisError:
            logger.warning("Redis is down: limits are kept in this process's memory")
            share = type(limit)(max(1, limit.amount // self._processes), limit.multiples, namespace=limit.namespace)
            return question(self._own, share)


def init_app(app: Flask, settings: Settings) -> None:
    """Create the app's windows."""
    app.extensions["zenzefi-limits"] = Windows(settings)


def count_gift_code(user_id: uuid.UUID) -> None:
    """A user may try 10 gift codes an hour; raises TooManyAttempts after that. Counted before the attempt."""
    windows = cast(Windows, current_app.extensions["zenzefi-limits"])
    limit = RateLimitItemPerHour(GIFT_CODES_PER_HOUR, namespace="gift")
    if not windows.take(limit, str(user_id)):
        raise TooManyAttempts(windows.resets_in(limit, str(user_id)))


def take_api_call(user_id: uuid.UUID) -> Allowance:
    """A user may call the API 100 times a minute (`limits.api_per_minute`), by logins and keys together.

    Superusers are not counted; their calls do not come here. While Redis is down each process lets through its share:
    an API that stopped with Redis would take away what still works.
    """
    windows = cast(Windows, current_app.extensions["zenzefi-limits"])
    limit = RateLimitItemPerMinute(context.settings().limits.api_per_minute, namespace="api")
    fits = windows.take(limit, str(user_id))
    return windows.allowance(limit, str(user_id), is_over=not fits)


def count_mailed_link(address: str | None) -> None:
    """An address may request 10 e-mailed links an hour; raises TooManyAttempts after that. Counted beforehand.

    How many mails one user gets is bounded where they are sent (`models.services.accounts.email_links`).
    """
    windows = cast(Windows, current_app.extensions["zenzefi-limits"])
    limit, name = RateLimitItemPerHour(MAILED_LINKS_PER_HOUR, namespace="link"), network_of(address)
    if not windows.take(limit, name):
        raise TooManyAttempts(windows.resets_in(limit, name))


def network_of(address: str | None) -> str:
    """Return the network that is limited as one client: an IPv4 address, or the /64 of an IPv6 address."""
    return customer_network(address or "") or "unknown"
