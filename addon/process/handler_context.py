"""What the client connections of a worker share: the HTTP addon, mitmproxy's master, hooks and background tasks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from mitmproxy.master import Master
from mitmproxy.proxy import commands

from addon.http1.addon import Http1
from models.addresses import is_in

logger = logging.getLogger(__name__)


class HandlerContext:
    """What the client connections of a worker share."""

    def __init__(self, http1: Http1, master: Master, *, proxy_protocol: bool) -> None:
        self.http1 = http1
        self.master = master
        self._proxy_protocol = proxy_protocol
        # The loop keeps weak references to tasks only.
        self._tasks: set[asyncio.Task[None]] = set()

    def expects_proxy_header(self, address: str) -> bool:
        """Whether a connection from this address begins with a PROXY header."""
        return self._proxy_protocol and is_in(address, self.http1.worker_context.rules.trusted_proxies)

    def run(self, coroutine: Any) -> None:
        """Run a coroutine in the background."""
        task = asyncio.get_running_loop().create_task(coroutine)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def run_hook(self, hook: commands.StartHook) -> None:
        """Call our own addon where it has the hook, and else mitmproxy's addons (TLS certificates)."""
        (argument,) = hook.args()
        own: Callable[[Any], Awaitable[None] | None] | None = getattr(self.http1, hook.name, None)
        try:
            if own is None:
                await self.master.addons.handle_lifecycle(hook)
            elif (waiting := own(argument)) is not None:
                await waiting
        except Exception:
            logger.exception("the hook %s failed", hook.name)
