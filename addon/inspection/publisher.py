"""Publisher thread: appends redacted flows to a Redis stream, for `./zenzefi inspect`.

What waits is bounded, and dropped rather than waited for. The stream is bounded in flows and, because each flow is, in
bytes. Redis being down costs what waited meanwhile and nothing else.
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
# A Redis that does not answer within this is as good as down, and is left alone for a while.
REDIS_TIMEOUT_SECONDS = 0.5
BACKOFF_SECONDS = 1.0
# How long the last flows of a stopping worker may take.
STOP_TIMEOUT_SECONDS = 2.0

type _Waiting = tuple[Exchange, Recording]


class FlowPublisher:
    """One worker's way to the stream. The loop puts and counts; the thread, which lives while it is needed, sends."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis.url
        self._rules = settings.inspection
        self._redactor = Redactor(self._rules.secret_names)
        self._queue: deque[_Waiting] = deque()
        # What happened since the loop last asked; each has one writer.
        self._dropped: Counter[str] = Counter()
        self._sent, self._lost, self._large = 0, 0, 0
        self._reported: Counter[tuple[str, str]] = Counter()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the thread still sends."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to send, if that has not begun."""
        if not self.is_alive or self._stopping.is_set():
            self._stopping = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="flows", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the thread send what waits and end."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until it has ended, unless that takes too long."""
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_SECONDS)

    def put(self, exchange: Exchange, recording: Recording) -> None:
        """Hand over an exchange that is over, or drop it."""
        if len(self._queue) < QUEUE_FLOWS:
            self._queue.append((exchange, recording))
        else:
            self.drop("queue")

    def drop(self, reason: str) -> None:
        """Count a flow that is not shown."""
        self._dropped[reason] += 1

    def take_counts(self) -> dict[tuple[str, str], int]:
        """Return what happened since this was last asked, as increments of the metrics."""
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
                    logger.warning("flows are not shown: %s", type(error).__name__)
                is_silent = True
                stopping.wait(BACKOFF_SECONDS)
            except Exception:
                logger.exception("a flow could not be shown; the next ones go on")
            else:
                is_silent = False
        redis.close()

    def _send(self, redis: Redis) -> None:
        """Append what waits. Raises what Redis raises; the flows of that call are lost."""
        written: list[bytes] = []
        for exchange, recording in self._take_queued():
            flow = self._encode(exchange, recording)
            if flow is None:
                self._large += 1
            else:
                written.append(flow)
            # Between two flows the loop comes first: it holds the same lock of the interpreter.
            time.sleep(0)
        if not written:
            return
        pipeline = redis.pipeline(transaction=False)
        for flow in written:
            pipeline.xadd(FLOWS, {"flow": flow}, maxlen=self._rules.stream_flows, approximate=False)
        pipeline.expire(FLOWS, FLOWS_SECONDS)
        try:
            pipeline.execute()
        except (RedisError, OSError):
            self._lost += len(written)
            raise
        self._sent += len(written)

    def _take_queued(self) -> Iterator[_Waiting]:
        """Take what waits now; a thread that is about to end may take some of it too."""
        for _ in range(len(self._queue)):
            with contextlib.suppress(IndexError):
                yield self._queue.popleft()

    def _encode(self, exchange: Exchange, recording: Recording) -> bytes | None:
        """Return a flow as bytes; without its bodies if it is too large, and None if even that does not help."""
        if exchange.request is None:
            return None
        flow = make_flow(exchange, exchange.request, recording, self._redactor)
        whole = _bytes_of(flow)
        if len(whole) > self._rules.flow_bytes:
            flow.request.raw_content = b""
            if flow.response is not None:
                flow.response.raw_content = b""
            flow.comment = "The bodies are too large to be shown."
            whole = _bytes_of(flow)
        return whole if len(whole) <= self._rules.flow_bytes else None


def _bytes_of(flow: http.HTTPFlow) -> bytes:
    file = io.BytesIO()
    FlowWriter(file).add(flow)
    return file.getvalue()
