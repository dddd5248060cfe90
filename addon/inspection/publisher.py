"""Publisher thread: appends redacted flows to a Redis stream, for `./zenzefi inspect`.

The queue is bounded: flows that do not fit are dropped. The stream is bounded in flows and, because each flow is, in
bytes. While Redis is down, queued flows are lost and nothing else.
"""

import contextlib
import io
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator

from mitmproxy import http
from mitmproxy.io import FlowWriter
from redis import Redis
from redis.exceptions import RedisError

from addon.http1.exchange import Exchange
from addon.http1.observe.flow_builder import make_flow
from addon.http1.observe.recording import Recording
from addon.http1.observe.redaction import Redactor
from models.config.settings import Settings
from models.services.gateway.workers import FLOWS, FLOWS_SECONDS

logger = logging.getLogger(__name__)

QUEUE_FLOWS = 256
SEND_SECONDS = 0.1
# A Redis that does not answer in time counts as down and is not asked for `BACKOFF_SECONDS`.
REDIS_TIMEOUT_SECONDS = 0.5
BACKOFF_SECONDS = 1.0
# How long publishing the last flows of a stopping worker may take.
STOP_TIMEOUT_SECONDS = 2.0

type _QueuedFlow = tuple[Exchange, Recording]


class FlowPublisher:
    """One worker's publisher. The event loop queues and counts; the thread, which runs while needed, sends."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis.url
        self._rules = settings.inspection
        self._redactor = Redactor(self._rules.secret_names)
        self._queue: deque[_QueuedFlow] = deque()
        # Totals, each written by one thread only; `_reported` is what `take_counts` has returned of them.
        self._dropped: Counter[str] = Counter()
        self._sent, self._lost, self._large = 0, 0, 0
        self._reported: Counter[tuple[str, str]] = Counter()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, unless it is running."""
        if not self.is_alive or self._stopping.is_set():
            self._stopping = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="flows", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the thread send the queued flows and end."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end of the thread, within a timeout."""
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_SECONDS)

    def put(self, exchange: Exchange, recording: Recording) -> None:
        """Queue a finished exchange, or drop it when the queue is full."""
        if len(self._queue) < QUEUE_FLOWS:
            self._queue.append((exchange, recording))
        else:
            self.drop("queue")

    def drop(self, reason: str) -> None:
        """Count a flow that is not published."""
        self._dropped[reason] += 1

    def take_counts(self) -> dict[tuple[str, str], int]:
        """Return the increments of the metrics since the last call."""
        seen = Counter({("flows_dropped", reason): count for reason, count in self._dropped.items()})
        seen["flows_sent", ""] = self._sent
        seen["flows_dropped", "redis"] = self._lost
        seen["flows_dropped", "large"] = self._large
        news, self._reported = seen - self._reported, seen
        return dict(news)

    def _run(self, stopping: threading.Event) -> None:
        redis = Redis.from_url(
            self._url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
        )
        is_last = is_silent = False
        while not is_last:
            is_last = stopping.wait(SEND_SECONDS)
            try:
                self._send(redis)
            except (RedisError, OSError) as error:
                if not is_silent:
                    logger.warning("inspected flows are not published: %s", type(error).__name__)
                is_silent = True
                stopping.wait(BACKOFF_SECONDS)
            except Exception:
                logger.exception("a flow could not be published; publishing continues")
            else:
                is_silent = False
        redis.close()

    def _send(self, redis: Redis) -> None:
        """Append the queued flows to the stream. Raises RedisError or OSError; the flows of that call are lost."""
        encoded: list[bytes] = []
        for exchange, recording in self._take_queued():
            flow = self._encode(exchange, recording)
            if flow is None:
                self._large += 1
            else:
                encoded.append(flow)
            # Release the interpreter's lock to the event loop after each flow.
            time.sleep(0)
        if not encoded:
            return
        pipeline = redis.pipeline(transaction=False)
        for flow in encoded:
            pipeline.xadd(FLOWS, {"flow": flow}, maxlen=self._rules.stream_flows, approximate=False)
        pipeline.expire(FLOWS, FLOWS_SECONDS)
        try:
            pipeline.execute()
        except (RedisError, OSError):
            self._lost += len(encoded)
            raise
        self._sent += len(encoded)

    def _take_queued(self) -> Iterator[_QueuedFlow]:
        """Yield the queued flows; a thread that is about to end may take some of them too."""
        for _ in range(len(self._queue)):
            with contextlib.suppress(IndexError):
                yield self._queue.popleft()

    def _encode(self, exchange: Exchange, recording: Recording) -> bytes | None:
        """Return a flow as bytes, without its bodies if it is too large; None if it is too large without them."""
        if exchange.request is None:
            return None
        flow = make_flow(exchange, exchange.request, recording, self._redactor)
        encoded = _bytes_of(flow)
        if len(encoded) > self._rules.flow_bytes:
            flow.request.raw_content = b""
            if flow.response is not None:
                flow.response.raw_content = b""
            flow.comment = "The bodies are too large to be shown."
            encoded = _bytes_of(flow)
        return encoded if len(encoded) <= self._rules.flow_bytes else None


def _bytes_of(flow: http.HTTPFlow) -> bytes:
    file = io.BytesIO()
    FlowWriter(file).add(flow)
    return file.getvalue()
