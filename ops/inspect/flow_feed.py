"""Reads the stream of flows and keeps the newest of them in mitmweb's list."""

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
# What a browser has not taken yet; one that is further behind loses its connection, and makes a new one.
MAX_QUEUED = 2000

type _Entries = list[tuple[bytes, dict[bytes, bytes]]]


class FlowFeed:
    """A mitmproxy addon. What it keeps is bounded, in flows and in bytes."""

    def __init__(self, redis: Redis, view: View, rules: Inspection) -> None:
        self._redis = redis
        self._view = view
        self._most = rules.viewer_flows
        self._most_bytes = 2 * rules.stream_mib * 1024 * 1024
        self._kept: deque[tuple[Flow, int]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def running(self) -> None:
        """The web server listens: begin to read."""
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def done(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._redis.aclose()

    async def _follow(self) -> None:
        """Show what is in the stream already, and then whatever comes; Redis being down is told once."""
        last: bytes | None = None
        is_silent = False
        while True:
            try:
                entries = await (self._newest() if last is None else self._next(last))
            except (RedisError, OSError) as error:
                if not is_silent:
                    print_error(f"Redis does not answer ({type(error).__name__}); waiting for it.")
                is_silent = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if is_silent:
                print_line("Redis answers again.")
            is_silent = False
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
        """Add a flow, and take the oldest away when there are too many."""
        written = fields.get(b"flow", b"")
        try:
            flows = list(FlowReader(io.BytesIO(written)).stream())
        except FlowReadException:
            logger.warning("a flow in the stream cannot be read; a worker of another version may have written it")
            return
        for flow in flows:
            if (shown := self._view.get_by_id(flow.id)) is not None:
                shown.set_state(flow.get_state())  # A tunnel that was shown when it opened is over.
                self._view.update([shown])
                continue
            self._view.add([flow])
            self._kept.append((flow, len(written)))
            self._bytes += len(written)
        while self._kept and (len(self._kept) > self._most or self._bytes > self._most_bytes):
            flow, size = self._kept.popleft()
            self._bytes -= size
            if self._view.get_by_id(flow.id) is flow:  # and not a tunnel that was cleared, and shown anew at its end
                self._view.remove([flow])

    @staticmethod
    def _close_slow_viewers() -> None:
        for connection in list(ClientConnection.connections):
            if connection._send_queue.qsize() > MAX_QUEUED:  # noqa: SLF001 - mitmweb lets it grow without end
                connection.close()
