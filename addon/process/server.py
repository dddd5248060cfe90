"""One worker's server: a listening socket on the shared port, mitmproxy with our HTTP layer, and the drain."""

import asyncio
import contextlib
import hashlib
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mitmproxy import options
from mitmproxy.addons import core, proxyserver, script, tlsconfig
from mitmproxy.master import Master

from addon.http1.addon import Http1
from addon.http1.connection.context import WorkerContext
from addon.http1.decisions import Refuse
from addon.process.acceptor import Acceptor
from addon.process.client_handler import ClientHandler
from addon.process.handler_context import HandlerContext
from addon.process.listening_sockets import BACKLOG, accept_pending
from addon.process.stranded_connections import StrandedConnections

logger = logging.getLogger(__name__)

WORKER_STOPPING = Refuse(503, "unavailable", "This worker is going away; try again.", (("Retry-After", "1"),))
# Our own deadlines are shorter; mitmproxy's watchdog would end a long poll without a response.
_WATCHDOG_SECONDS = 24 * 3600
# How long aborted connections may take to close after the deadline of a drain.
_ABORT_SECONDS = 1.0
# Connections accepted just before a drain reach the registry a few iterations of the event loop later.
_SETTLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the clients: a PEM file with the certificate, its key and its chain."""

    # The folder of mitmproxy's own files; private to the worker.
    confdir: Path
    certificate: Path


class Gateway:
    """A slim mitmproxy master with our HTTP layer behind one listening socket.

    1. `start` starts the master and begins to accept.
    2. `drain` stops accepting, lets requests finish, and aborts the remaining ones at its deadline.
    3. `stop` ends the master.

    It also accepts connections stuck in sibling workers' listen queues. With `proxy_protocol`, trusted proxies must
    send the client's address in a PROXY header.
    """

    def __init__(
        self,
        worker_context: WorkerContext,
        listener: socket.socket,
        *,
        sibling_listeners: Sequence[socket.socket] = (),
        tls: Tls | None = None,
        proxy_protocol: bool = False,
        observers: Sequence[str] = (),
        extra_addons: tuple[object, ...] = (),
    ) -> None:
        self.worker_context = worker_context
        self.http1 = Http1(worker_context, client_tls=tls is not None)
        self._listener = listener
        self._acceptor = Acceptor(listener, self._new_handler)
        self._stranded = StrandedConnections(sibling_listeners, self._acceptor.adopt)
        self._stranded_task: asyncio.Task[None] | None = None
        self._tls = tls
        self._proxy_protocol = proxy_protocol
        # mitmproxy scripts: they see a redacted copy of each flow and change nothing.
        self._observers = [str(Path(path).resolve()) for path in observers]
        self._extra = extra_addons
        self._master: Master | None = None
        self._running: asyncio.Task[None] | None = None
        self._handler_context: HandlerContext | None = None

    async def start(self) -> None:
        """Start the master and accept connections."""
        logging.getLogger("mitmproxy").setLevel(logging.WARNING)
        master = self._master = Master(options.Options(mode=[]))
        addons: list[object] = [core.Core(), proxyserver.Proxyserver(), self.http1]
        if self._tls is not None:
            addons.append(tlsconfig.TlsConfig())
        if self._observers:
            addons.append(script.ScriptLoader())
        master.addons.add(*addons, *self._extra)
        if self._observers:
            master.options.update(scripts=self._observers)
        # After the addons, so that TlsConfig receives the folder and the files.
        if self._tls is not None:
            master.options.update(confdir=str(self._tls.confdir))
            self._set_certificate()
        master.options.update(http3=False, tcp_timeout=_WATCHDOG_SECONDS)
        self._running = asyncio.create_task(master.run())
        # The eager task factory and the addons' `running` hooks take a few iterations of the event loop.
        while not self.http1.is_running and not self._running.done():
            await asyncio.sleep(0)
        if self._running.done():
            await self._running
        self._handler_context = HandlerContext(self.http1, master, proxy_protocol=self._proxy_protocol)
        self._acceptor.start(BACKLOG)
        self._stranded_task = asyncio.create_task(self._stranded.watch())

    def reload_tls(self) -> None:
        """Reload the TLS files of both sides; open client connections keep their certificates. Raises OSError."""
        self.worker_context.pool.reload_tls()
        self._set_certificate()

    def _set_certificate(self) -> None:
        if self._tls is not None and self._master is not None:
            self._master.options.update(certs=[f"*={self._content_link(self._tls.certificate)}"])

    def _content_link(self, path: Path) -> Path:
        """Return a link whose name changes with the file's content: mitmproxy caches TLS contexts by name."""
        assert self._tls is not None  # only called while there is TLS
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        link = self._tls.confdir / f"{path.stem}-{digest}.pem"
        self._tls.confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(path.resolve())
        return link

    def close_listener(self) -> None:
        """Stop accepting, and adopt connections still in the queue: the kernel would reset them."""
        if not self._acceptor.is_accepting:
            return
        self._acceptor.stop()
        if self._stranded_task is not None:
            self._stranded_task.cancel()
        for connection in (*self._stranded.close(), *accept_pending(self._listener)):
            self._acceptor.adopt(connection)
        self._listener.close()

    def _new_handler(self) -> ClientHandler:
        assert self._handler_context is not None  # only called while connections are accepted
        return ClientHandler(self._handler_context)

    async def drain(self, seconds: float) -> bool:
        """Let open requests finish; return False when some had to be aborted."""
        self.close_listener()
        registry = self.worker_context.registry
        registry.drain(self.worker_context.limits.drain_idle_seconds)
        await asyncio.sleep(min(_SETTLE_SECONDS, seconds))
        if await self._wait_until_empty(seconds):
            return True
        registry.abort_all(WORKER_STOPPING)
        await self._wait_until_empty(_ABORT_SECONDS)
        return False

    async def _wait_until_empty(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.worker_context.registry.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        return not self.worker_context.registry.connections

    async def stop(self) -> None:
        """End the master."""
        self.close_listener()
        if self._master is not None and self._running is not None:
            self._master.shutdown()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
