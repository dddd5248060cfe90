"""Recent requests and refusals of each token, buffered and written to Redis once a second.

Each finished exchange appends a tuple; once a second all tuples are written to Redis in pipelines. With more than
`MAX_TOKENS` tokens in use, or while Redis is down, records are dropped: no request ever waits for them.
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
# Tokens per pipeline: encoding their full buffers blocks the event loop for two milliseconds.
PIPELINE_TOKENS = 10

# How many failed requests per second are kept by their request ids.
FAILED_PER_FLUSH = 100

# Request id, time, method, path, status, code, user, address.
type _FailedRequest = tuple[str, float, str, bytes, int, str, uuid.UUID | None, str]
# Time, method, path, status, bytes in and out, milliseconds, code. Encoded only if still buffered at the flush.
type _FinishedRequest = tuple[float, str, bytes, int, int, int, float, str]


class RecentRequests:
    """The requests of this worker since its last flush. Used on the event loop only."""

    def __init__(self, redis: Redis, counters: Counters) -> None:
        self._redis = redis
        self._counters = counters
        self._requests: dict[uuid.UUID, deque[_FinishedRequest]] = {}
        self._refusals: dict[uuid.UUID, deque[_FinishedRequest]] = {}
        self._failed: deque[_FailedRequest] = deque(maxlen=FAILED_PER_FLUSH)
        self._is_redis_down = False

    def add(self, exchange: Exchange, snapshot: TokenSnapshot) -> None:
        """Buffer a finished exchange of a token."""
        request, status, code = exchange.request, exchange.status, exchange.code
        if request is None:
            return
        milliseconds = (exchange.ended - exchange.started) * 1000
        outcome = (status, exchange.bytes_in, exchange.bytes_out, milliseconds)
        finished = (time.time(), request.method, request.raw_path, *outcome, code)
        self._append(self._requests, snapshot.token_id, finished, recent_requests.REQUESTS_KEPT)
        if code and status >= 400:
            self._append(self._refusals, snapshot.token_id, finished, recent_requests.REFUSALS_KEPT)

    def add_failed(self, exchange: Exchange, snapshot: TokenSnapshot | None) -> None:
        """Buffer a refused or failed request, so that an admin can look it up by its request id."""
        if exchange.code and exchange.status >= 400:
            request = exchange.request
            user_id = None if snapshot is None else snapshot.user_id
            target = ("", b"") if request is None else (request.method, request.raw_path)
            outcome = (exchange.status, exchange.code, user_id, exchange.client_address)
            self._failed.append((exchange.request_id, time.time(), *target, *outcome))

    def _append(
        self,
        buffers: dict[uuid.UUID, deque[_FinishedRequest]],
        token_id: uuid.UUID,
        finished: _FinishedRequest,
        size: int,
    ) -> None:
        buffer = buffers.get(token_id)
        if buffer is not None:
            buffer.append(finished)
        elif len(buffers) < MAX_TOKENS:
            buffers[token_id] = deque((finished,), maxlen=size)
        else:
            self._counters.add("trail_dropped")

    async def run(self) -> None:
        """Flush once a second until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write the buffers to Redis; they are dropped when that fails, which is logged once."""
        requests, self._requests = self._requests, {}
        refusals, self._refusals = self._refusals, {}
        batch = [
            (
                recent_requests.requests_key(token_id),
                buffer,
                recent_requests.REQUESTS_KEPT,
                recent_requests.REQUESTS_SECONDS,
            )
            for token_id, buffer in requests.items()
        ]
        batch += [
            (
                recent_requests.refusals_key(token_id),
                buffer,
                recent_requests.REFUSALS_KEPT,
                recent_requests.REFUSALS_SECONDS,
            )
            for token_id, buffer in refusals.items()
        ]
        failed, self._failed = list(self._failed), deque(maxlen=FAILED_PER_FLUSH)
        try:
            if failed:
                lines = [part for request in failed for part in (request[0], _encode_failed(request))]
                await self._redis.eval(
                    failed_requests.ADD, 2, failed_requests.ASKED_KEY, failed_requests.ORDER_KEY, *lines
                )
            for start in range(0, len(batch), PIPELINE_TOKENS):
                pipeline = self._redis.pipeline(transaction=False)
                for key, buffer, size, seconds in batch[start : start + PIPELINE_TOKENS]:
                    pipeline.lpush(key, *(_encode_finished(finished) for finished in buffer))
                    pipeline.ltrim(key, 0, size - 1)
                    pipeline.expire(key, seconds)
                with self._counters.timed("redis", "trail"):
                    await pipeline.execute()
        except (RedisError, OSError) as error:
            if not self._is_redis_down:
                logger.warning("recent requests are not stored in Redis: %s", type(error).__name__)
            self._is_redis_down = True
        else:
            self._is_redis_down = False


def _encode_failed(failed: _FailedRequest) -> str:
    _id, at, method, path, status, code, user, address = failed
    masked = masked_path(path)[: failed_requests.LONGEST_PATH]
    user_id = None if user is None else str(user)
    return failed_requests.encode(FailedRequest(round(at, 3), "proxy", method, masked, status, code, user_id, address))


def _encode_finished(finished: _FinishedRequest) -> str:
    at, method, path, status, bytes_in, bytes_out, milliseconds, code = finished
    outcome = (status, bytes_in, bytes_out, round(milliseconds, 1))
    return recent_requests.encode(at, method, masked_path(path), outcome, code)
