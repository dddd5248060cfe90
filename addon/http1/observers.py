"""Shows finished exchanges to other mitmproxy addons, as redacted copies; nobody pays when nobody looks."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Iterable

from mitmproxy import http
from mitmproxy.addonmanager import traverse
from mitmproxy.connection import Client, Server
from mitmproxy.flow import Error
from mitmproxy.master import Master
from mitmproxy.proxy.layers.http import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from addon.http1.exchange import Exchange
from addon.http1.heads import Header, RequestHead
from addon.http1.recording import Recording

logger = logging.getLogger(__name__)

_HOOKS = ("requestheaders", "request", "responseheaders", "response", "error")
# Of mitmproxy's own addons, those that show flows; the others act on flows, which ours are not for.
_VIEWERS = frozenset({"mitmproxy.addons.view", "mitmproxy.addons.dumper"})
_TELLING = r"pass|token|secret|key|ticket|cookie|auth|session|signature|credential|otp|code"
_SECRET_NAME = re.compile(_TELLING.encode(), re.IGNORECASE)
_SECRET_PAIR = re.compile(rf"([^&=?;]*(?:{_TELLING})[^&=?;]*)=[^&;]*".encode(), re.IGNORECASE)
_SECRET_JSON = re.compile(rf'("[^"]*(?:{_TELLING})[^"]*"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}}]+)'.encode(), re.IGNORECASE)
_REDACTED = b"[redacted]"
_QUEUE = 256
_CAP = 64 * 1024


def is_observed(master: Master) -> bool:
    """Whether any addon wants to see flows."""
    for addon in traverse(master.addons.chain):
        module = getattr(addon, "__name__", None) or type(addon).__module__
        if module.startswith("mitmproxy.") and module not in _VIEWERS:
            continue
        if any(callable(getattr(addon, hook, None)) for hook in _HOOKS):
            return True
    return False


class FlowObserver:
    """Makes a flow of each finished exchange and hands it to the flow hooks, one after the other.

    What waits is bounded: when the observers are slower than the traffic, flows are dropped and counted.
    """

    def __init__(self, master: Master) -> None:
        self.dropped = 0
        self._master = master
        self._queue: asyncio.Queue[http.HTTPFlow] = asyncio.Queue(_QUEUE)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def begin(self, exchange: Exchange) -> Recording | None:
        """Record every exchange."""
        return Recording(_CAP)

    def end(self, exchange: Exchange, recording: Recording) -> None:
        """Queue the flow, or drop it."""
        if exchange.request is None:
            return
        if self._queue.full():
            self.dropped += 1
            return
        self._queue.put_nowait(make_flow(exchange, exchange.request, recording))

    async def close(self) -> None:
        """Stop showing flows."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            flow = await self._queue.get()
            try:
                await self._show(flow)
            except Exception:
                logger.exception("a flow could not be shown")

    async def _show(self, flow: http.HTTPFlow) -> None:
        addons = self._master.addons
        await addons.handle_lifecycle(HttpRequestHeadersHook(flow))
        await addons.handle_lifecycle(HttpRequestHook(flow))
        if flow.response is not None:
            await addons.handle_lifecycle(HttpResponseHeadersHook(flow))
        if flow.error is None:
            await addons.handle_lifecycle(HttpResponseHook(flow))
        else:
            await addons.handle_lifecycle(HttpErrorHook(flow))


def make_flow(exchange: Exchange, request: RequestHead, recording: Recording) -> http.HTTPFlow:
    """Build a flow that shares nothing with the exchange and holds no secret."""
    # The exchange's times are monotonic, a flow's are wall clock.
    shift = time.time() - time.monotonic()
    host, port = exchange.address or ("", 0)
    client = Client(peername=(exchange.client_address, 0), sockname=("", 0), timestamp_start=exchange.started + shift)
    flow = http.HTTPFlow(client, Server(address=(host, port)))
    flow.request = http.Request(
        host=host,
        port=port,
        method=request.method.encode(),
        scheme=b"http",
        authority=b"",
        path=_without_secrets(request.target),
        http_version=b"HTTP/1.0" if request.http10 else b"HTTP/1.1",
        headers=_headers(request.headers.items),
        content=_body(recording.request_body),
        trailers=None,
        timestamp_start=exchange.started + shift,
        timestamp_end=exchange.started + shift,
    )
    response = recording.response
    if exchange.status:
        flow.response = http.Response(
            http_version=b"HTTP/1.1",
            status_code=exchange.status,
            reason=response.reason if response else b"",
            headers=_headers(response.headers.items) if response else http.Headers(),
            content=_body(recording.response_body),
            trailers=None,
            timestamp_start=(exchange.first_byte or exchange.ended) + shift,
            timestamp_end=exchange.ended + shift,
        )
    if exchange.code and (flow.response is None or response is not None):
        flow.error = Error(exchange.code)
    flow.metadata["request_id"] = exchange.request_id
    flow.metadata["bytes"] = [exchange.bytes_in, exchange.bytes_out]
    return flow


def _headers(items: Iterable[Header]) -> http.Headers:
    return http.Headers(
        [(name, _REDACTED if _SECRET_NAME.search(lower) else _without_secrets(value)) for lower, name, value in items]
    )


def _without_secrets(text: bytes) -> bytes:
    return _SECRET_PAIR.sub(rb"\1=" + _REDACTED, text) if b"=" in text else text


def _body(body: bytes) -> bytes:
    return _SECRET_JSON.sub(rb'\1"' + _REDACTED + b'"', _without_secrets(body))
