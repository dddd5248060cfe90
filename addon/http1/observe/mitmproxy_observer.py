"""Passes redacted copies of finished exchanges to the flow hooks of other mitmproxy addons."""

import asyncio
import contextlib
import logging

from mitmproxy import http
from mitmproxy.addonmanager import traverse
from mitmproxy.master import Master
from mitmproxy.proxy.layers.http import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from addon.http1.exchange import Exchange
from addon.http1.observe.flow_builder import make_flow
from addon.http1.observe.recording import Recording
from addon.http1.observe.redaction import Redactor

logger = logging.getLogger(__name__)

_HOOKS = ("requestheaders", "request", "responseheaders", "response", "error")
# Of mitmproxy's own addons, those that display flows; the others would act on them.
_VIEWERS = frozenset({"mitmproxy.addons.view", "mitmproxy.addons.dumper"})
_QUEUE = 256
_CAP = 64 * 1024


def is_observed(master: Master) -> bool:
    """Return whether any addon displays flows or has flow hooks of its own."""
    for addon in traverse(master.addons.chain):
        module = getattr(addon, "__name__", None) or type(addon).__module__
        if module.startswith("mitmproxy.") and module not in _VIEWERS:
            continue
        if any(callable(getattr(addon, hook, None)) for hook in _HOOKS):
            return True
    return False


class FlowObserver:
    """Builds a flow of each finished exchange and passes it to the flow hooks, one after the other.

    The queue is bounded: when the hooks are slower than the traffic, flows are dropped and counted.
    """

    def __init__(self, master: Master) -> None:
        self.dropped = 0
        self._master = master
        self._redactor = Redactor()
        self._queue: asyncio.Queue[http.HTTPFlow] = asyncio.Queue(_QUEUE)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def begin(self, exchange: Exchange) -> Recording | None:
        """Record every exchange."""
        return Recording(self, _CAP)

    def opened(self, exchange: Exchange, recording: Recording) -> None:
        """Do nothing: a tunnel is shown when it has ended, as hooks run once for each flow."""

    def end(self, exchange: Exchange, recording: Recording) -> None:
        """Queue the flow, or drop it."""
        if exchange.request is None:
            return
        if self._queue.full():
            self.dropped += 1
            return
        self._queue.put_nowait(make_flow(exchange, exchange.request, recording, self._redactor))

    async def close(self) -> None:
        """Stop passing on flows."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            flow = await self._queue.get()
            try:
                await self._show(flow)
            except Exception:
                logger.exception("could not pass a flow to the addons")

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
