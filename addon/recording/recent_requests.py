"""Recent requests and refusals of each token, buffered and written to Redis once a second.

An exchange that is over leaves a tuple; once a second all that was left goes to Redis in one pipeline. With more
tokens in use than `TOKENS_AT_ONCE`, or with Redis silent, what does not fit is dropped: nobody ever waits for this.
"""

import asyncio
import logging
import time
import uuid
from collections import deque

from redis.asyncio import Redis
from redis.exceptions import RedisError

from addon.http1.exchange import Exchange
from addon.recording.access_log_format import masked_path
from addon.recording.counters import Counters
from models.services.gateway import recent_requests
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.monitoring import failed_requests
from models.services.monitoring.failed_requests import FailedRequest

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
MAX_TOKENS = 1000
# In the middle of a batch the loop takes care of others after so many tokens: with all their lines to be written
# that is two milliseconds, and nobody's request waits for more.
PIPELINE_TOKENS = 10

# So many refusals of a second are kept by their ids, however many there are.
FAILED_PER_FLUSH = 100

# Request id, time, method, path, status, code, user, address.
type _FailedRequest = tuple[str, float, str, bytes, int, str, uuid.UUID | None, str]
# Time, method, path, status, bytes in and out, milliseconds, code. Written out only if it is still among the last.
type _FinishedRequest = tuple[float, str, bytes, int, int, int, float, str]


class RecentRequests:
    """What this worker has seen since its last flush. Only the loop touches it."""

    def __init__(self, redis: Redis, counters: Counters) -> None:
        self._redis = redis
        self._counters = counters
        self._requests: dict[uuid.UUID, deque[_FinishedRequest]] = {}
        self._refusals: dict[uuid.UUID, deque[_FinishedRequest]] = {}
        self._failed: deque[_FailedRequest] = deque(maxlen=FAILED_PER_FLUSH)
        self._is_redis_down = False

    def add(self, exchange: Exchange, snapshot: TokenSnapshot) -> None:
        """Keep an exchange that has ended, of a token that was found."""
        request, status, code = exchange.request, exchange.status, exchange.code
        if request is None:
            return
        took = (exchange.ended - exchange.started) * 1000
        figures = (status, exchange.bytes_in, exchange.bytes_out, took)
        left = (time.time(), request.method, request.raw_path, *figures, code)
        self._append(self._requests, snapshot.token_id, left, recent_requests.REQUESTS_KEPT)
        if code and status >= 400:
            self._append(self._refusals, snapshot.token_id, left, recent_requests.REFUSALS_KEPT)

    def add_failed(self, exchange: Exchange, snapshot: TokenSnapshot | None) -> None:
        """Keep what was refused or failed for an admin who is told its id; of very many only the last ones."""
        if exchange.code and exchange.status >= 400:
            request = exchange.request
            user_id = None if snapshot is None else snapshot.user_id
            asked_for = ("", b"") if request is None else (request.method, request.raw_path)
            outcome = (exchange.status, exchange.code, user_id, exchange.client_address)
            self._failed.append((exchange.request_id, time.time(), *asked_for, *outcome))

    def _append(
        self, kept: dict[uuid.UUID, deque[_FinishedRequest]], token_id: uuid.UUID, left: _FinishedRequest, most: int
    ) -> None:
        ours = kept.get(token_id)
        if ours is not None:
            ours.append(left)
        elif len(kept) < MAX_TOKENS:
            kept[token_id] = deque((left,), maxlen=most)
        else:
            self._counters.add("trail_dropped")

    async def run(self) -> None:
        """Flush once a second until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Hand over what was kept; Redis being down is noted once, and what was kept is dropped."""
        requests, self._requests = self._requests, {}
        refusals, self._refusals = self._refusals, {}
        batch = [
            (
                recent_requests.requests_key(token_id),
                ours,
                recent_requests.REQUESTS_KEPT,
                recent_requests.REQUESTS_SECONDS,
            )
            for token_id, ours in requests.items()
        ]
        batch += [
            (
                recent_requests.refusals_key(token_id),
                ours,
                recent_requests.REFUSALS_KEPT,
                recent_requests.REFUSALS_SECONDS,
            )
            for token_id, ours in refusals.items()
        ]
        refused, self._failed = list(self._failed), deque(maxlen=FAILED_PER_FLUSH)
        try:
            if refused:
                lines = [part for one in refused for part in (one[0], _encode_failed(one))]
                await self._redis.eval(
                    failed_requests.ADD, 2, failed_requests.ASKED_KEY, failed_requests.ORDER_KEY, *lines
                )
            for start in range(0, len(batch), PIPELINE_TOKENS):
                pipeline = self._redis.pipeline(transaction=False)
                for key, ours, most, seconds in batch[start : start + PIPELINE_TOKENS]:
                    pipeline.lpush(key, *(_encode_finished(left) for left in ours))
                    pipeline.ltrim(key, 0, most - 1)
                    pipeline.expire(key, seconds)
                with self._counters.timed("redis", "trail"):
                    await pipeline.execute()
        except (RedisError, OSError) as error:
            if not self._is_redis_down:
                logger.warning("requests are not shown to their owners: %s", type(error).__name__)
            self._is_redis_down = True
        else:
            self._is_redis_down = False


def _encode_failed(one: _FailedRequest) -> str:
    _id, at, method, path, status, code, user, address = one
    shown = masked_path(path)[: failed_requests.LONGEST_PATH]
    whose = None if user is None else str(user)
    return failed_requests.encode(FailedRequest(round(at, 3), "proxy", method, shown, status, code, whose, address))


def _encode_finished(left: _FinishedRequest) -> str:
    at, method, path, status, bytes_in, bytes_out, took, code = left
    return recent_requests.encode(at, method, masked_path(path), (status, bytes_in, bytes_out, round(took, 1)), code)
