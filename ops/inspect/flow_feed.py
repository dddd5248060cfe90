"""Copy flows from the Redis stream into mitmweb's list, keeping the newest."""

import asyncio
import contextlib
import io
import logging
from collections import deque
from typing import Any

from mitmproxy.addons.view import View
from mitmproxy.exceptions import FlowReadException
from mitmproxy.flow import Flow
from mitmproxy.io import FlowReader
from mitmproxy.tools.web.app import ClientConnection
from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.config.operations import Inspection
from models.services.gateway.workers import FLOWS
from ops.console import print_error, print_line

logger = logging.getLogger(__name__)

WAIT_MS = 1000
RETRY_SECONDS = 1.0
BATCH_SIZE = 50
# Messages queued for a browser; a slower one is disconnected and reconnects.
MAX_QUEUED = 2000

type _Entries = list[tuple[bytes, dict[bytes, bytes]]]


class FlowFeed:
    """mitmproxy addon that reads the stream; the list is limited in flows and in bytes."""

    def __init__(self, redis: Redis, view: View, rules: Inspection) -> None:
        self._redis = redis
        self._view = view
        self._most = rules.viewer_flows
        self._most_bytes = 2 * rules.stream_mib * 1024 * 1024
        self._kept: deque[tuple[Flow, int]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def running(self) -> None:
        """Start reading when the web server listens."""
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def done(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._redis.aclose()

    async def _follow(self) -> None:
        """Show the flows in the stream, then new ones; an outage of Redis is reported once."""
        last: bytes | None = None
        is_down = False
        while True:
            try:
                entries = await (self._newest() if last is None else self._next(last))
            except (RedisError, OSError) as error:
                if not is_down:
                    print_error(f"Redis does not answer ({type(error).__name__}); waiting for it.")
                is_down = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if is_down:
                print_line("Redis answers again.")
            is_down = False
            for _, fields in entries:
                self._show(fields)
                await asyncio.sleep(0)
            self._close_slow_viewers()
            last = entries[-1][0] if entries else last or b"0-0"

    async def _newest(self) -> _Entries:
        newest: Any = await self._redis.xrevrange(FLOWS, count=self._most)
        return list(reversed(newest))

    async def _next(self, last: bytes) -> _Entries:
        found: Any = await self._redis.xread({FLOWS: last}, count=BATCH_SIZE, block=WAIT_MS)
        return [entry for _, entries in found for entry in entries]

    def _show(self, fields: dict[bytes, bytes]) -> None:
        """Add a flow, and remove the oldest beyond the limits."""
        written = fields.get(b"flow", b"")
        try:
            flows = list(FlowReader(io.BytesIO(written)).stream())
        except FlowReadException:
            logger.warning("a flow in the stream cannot be read; a worker of another version may have written it")
            return
        for flow in flows:
            if (shown := self._view.get_by_id(flow.id)) is not None:
                shown.set_state(flow.get_state())  # a tunnel that was shown when it opened has ended
                self._view.update([shown])
                continue
            self._view.add([flow])
            self._kept.append((flow, len(written)))
            self._bytes += len(written)
        while self._kept and (len(self._kept) > self._most or self._bytes > self._most_bytes):
            flow, size = self._kept.popleft()
            self._bytes -= size
            if self._view.get_by_id(flow.id) is flow:  # not a tunnel that was cleared and shown again at its end
                self._view.remove([flow])

    @staticmethod
    def _close_slow_viewers() -> None:
        for connection in list(ClientConnection.connections):
            if connection._send_queue.qsize() > MAX_QUEUED:  # noqa: SLF001 - mitmweb does not limit it
                connection.close()
