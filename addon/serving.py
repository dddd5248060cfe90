"""One worker's listener: its own socket on a shared port, mitmproxy behind it, and an orderly end."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mitmproxy import options
from mitmproxy.addons import core, proxyserver, tlsconfig
from mitmproxy.master import Master
from mitmproxy.proxy.mode_servers import ServerInstance

from addon.http1.addon import Http1
from addon.http1.decisions import Refuse
from addon.http1.site import Site
from addon.neighbours import Neighbours

logger = logging.getLogger(__name__)

BACKLOG = 1024
# A draining worker still takes what a client sends within this time, so that a request and the end never meet.
FAREWELL_SECONDS = 1.0
GOING_AWAY = Refuse(503, "unavailable", "This worker is going away; try again.", (("Retry-After", "1"),))
# Our own deadlines are shorter; mitmproxy's watchdog would end a long poll without an answer.
_WATCHDOG_SECONDS = 24 * 3600


def listening_socket(host: str, port: int) -> socket.socket:
    """Bind a socket that other workers may share; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.setblocking(False)
    return listener


class Gateway:
    """A slim mitmproxy master with our HTTP layer behind one listening socket.

    1. `start` brings the master up and begins to accept.
    2. `drain` stops accepting, lets requests finish, cuts what is left at its deadline.
    3. `stop` ends the master.
    """

    def __init__(
        self,
        site: Site,
        listener: socket.socket,
        *,
        neighbours: Sequence[socket.socket] = (),
        confdir: Path | None = None,
        tls_certificate: Path | None = None,
        upstream_tls: bool = False,
        upstream_ca: Path | None = None,
        upstream_client_certificate: Path | None = None,
        extra_addons: tuple[object, ...] = (),
    ) -> None:
        self.site = site
        self.http1 = Http1(site, client_tls=tls_certificate is not None)
        self._listener = listener
        self._neighbours = Neighbours(neighbours, self._accept)
        self._helping: asyncio.Task[None] | None = None
        self._extra = extra_addons
        self._uses_tls = tls_certificate is not None or upstream_tls
        self._options = {
            "http2": False,
            "http3": False,
            "connection_strategy": "lazy",
            "tcp_timeout": _WATCHDOG_SECONDS,
        }
        if confdir is not None:
            self._options["confdir"] = str(confdir)
        if tls_certificate is not None:
            self._options["certs"] = [f"*={tls_certificate}"]
        if upstream_ca is not None:
            self._options["ssl_verify_upstream_trusted_ca"] = str(upstream_ca)
        if upstream_client_certificate is not None:
            self._options["client_certs"] = str(upstream_client_certificate)
        self._master: Master | None = None
        self._running: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], object] | None = None

    @property
    def master(self) -> Master:
        """The running master, for options and addons that change at run time."""
        assert self._master is not None
        return self._master

    async def start(self) -> None:
        """Bring up the master and accept connections."""
        logging.getLogger("mitmproxy").setLevel(logging.WARNING)
        master = self._master = Master(options.Options(mode=[]))
        manager = proxyserver.Proxyserver()
        addons: list[object] = [core.Core(), manager, self.http1]
        if self._uses_tls:
            addons.append(tlsconfig.TlsConfig())
        master.addons.add(*addons, *self._extra)
        # After the addons, so that TlsConfig sees the folder it is to use.
        master.options.update(**self._options)
        self._running = asyncio.create_task(master.run())
        # The eager task factory and the addons' `running` hooks are in place after the first turns of the loop.
        while not self.http1.is_running:
            await asyncio.sleep(0)
            if self._running.done():
                await self._running
        instance = ServerInstance.make("reverse:http://upstream.invalid:80", manager)
        self._handle = instance.handle_stream
        self._server = await asyncio.start_server(self._accept, sock=self._listener, backlog=BACKLOG)
        self._helping = asyncio.create_task(self._neighbours.watch())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client; the handler may have died, so the socket is closed here in any case."""
        connection = writer.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert self._handle is not None
        try:
            await self._handle(reader, writer)  # type: ignore[misc]  # mitmproxy's handle_stream is a coroutine
        finally:
            writer.close()

    def close_listener(self) -> None:
        """Take no new connection."""
        if self._server is not None:
            self._server.close()
        if self._helping is not None:
            self._helping.cancel()
            self._neighbours.close()

    async def drain(self, seconds: float) -> bool:
        """Let what is running finish; return whether nothing had to be cut.

        1. Nothing new is accepted, and every answer from now on ends its connection.
        2. What was accepted just now, or is kept open between two requests, has a moment to send one.
        3. Then idle connections are closed, and what still runs has the rest of the time.
        """
        self.close_listener()
        registry = self.site.registry
        registry.draining = True
        until = time.monotonic() + seconds
        farewell = time.monotonic() + min(FAREWELL_SECONDS, seconds / 2)
        await asyncio.sleep(min(0.1, seconds / 2))  # what was accepted reaches the registry a few turns later
        while registry.connections and time.monotonic() < farewell:
            await asyncio.sleep(0.02)
        registry.drain()
        while registry.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        if not registry.connections:
            return True
        registry.cut_all(GOING_AWAY)
        until = time.monotonic() + 1.0
        while registry.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        return False

    async def stop(self) -> None:
        """End the master."""
        self.close_listener()
        if self._master is not None and self._running is not None:
            self._master.shutdown()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
