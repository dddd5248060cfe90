"""One proxy worker: `python -m addon.worker`. Several share one port; the kernel spreads connections over them."""

import asyncio
import contextlib
import logging
import signal
import sys
import tempfile
import time
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from redis.asyncio import Redis

from addon.counts import Counts
from addon.cutting import Cutter
from addon.entrance import Entrance
from addon.exchange import Exchange
from addon.gate import Gate
from addon.health import Health
from addon.http1.forwarding import Rules
from addon.http1.limits import Limits
from addon.http1.registry import Registry
from addon.http1.site import Site
from addon.http1.upstreams import Upstream
from addon.known import KnownTokens
from addon.line import Line, given_listeners
from addon.listener import Change, Listener
from addon.metrics import Gauges
from addon.outlook import Outlook
from addon.policy import PREFIX, RESERVED_SEGMENT, GatePolicy
from addon.prober import Prober
from addon.rates import Rates
from addon.records import Records
from addon.serving import Gateway, Tls
from addon.shared import SharedTokens
from addon.sockets import listening_socket
from addon.store import Store
from addon.tally import FLUSH_SECONDS, Tally
from models import config
from models.config import Settings

logger = logging.getLogger(__name__)

# How long the last counts of a stopping worker wait for a database that does not answer.
LAST_FLUSH_SECONDS = 10.0
# How long a worker whose supervisor was killed may take for its end, beyond the drain.
ORPHANED_SECONDS = 15.0
# A Redis that does not answer within this is as good as down.
REDIS_SECONDS = 0.5


class Worker:
    """Everything one worker consists of, from the database to the socket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        counts = Counts()
        self._store = Store(settings, counts=counts)
        self._known = KnownTokens(settings.proxy.known_tokens)
        self._redis = Redis.from_url(
            settings.redis.url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
        )
        self._shared = SharedTokens(self._redis, counts=counts)
        self._rates = Rates(
            per_minute=settings.limits.proxy_per_minute,
            at_once=settings.limits.proxy_at_once,
            workers=settings.proxy.workers,
        )
        self._exchange = Exchange(self._redis, self._rates, counts)
        self._gate = Gate(settings, self._store, self._known, shared=self._shared, rates=self._rates, counts=counts)
        self._tally = Tally(self._store.factory)
        upstream = upstream_of(settings)
        self._outlook = Outlook(settings, self._redis, self._store, upstream)
        self._prober = Prober(settings, self._redis)
        self._health = Health(settings, self._store, self._outlook)
        self._registry = Registry()
        self._records = Records(settings, self._redis, counts, self._gauges)
        self._cutter = Cutter(self._registry, self._store, self._known)
        self._policy = GatePolicy(
            self._gate,
            self._tally,
            self._rates,
            self._health,
            upstream,
            entrance=Entrance(settings, self._store),
            records=self._records,
            in_use=self._cutter.in_use,
            compatibility=settings.proxy.compatibility_prefix,
        )
        # Where mitmproxy keeps what it makes for TLS.
        self._files = tempfile.TemporaryDirectory(prefix="zenzefi-worker-")
        self._stopping = asyncio.Event()
        # The loop keeps weak references to tasks only.
        self._burials: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then let requests finish, write the last counts and end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        listener = Listener(
            self._settings, self._known, loop, on_change=self._changed, on_return=self._cutter.everything_changed
        )
        gateway = self._gateway()
        self._records.start()
        loop.add_signal_handler(signal.SIGUSR1, self._records.log.reopen)
        line, drain_seconds = Line(), self._settings.proxy.drain_seconds
        listener.start()
        await gateway.start()
        line.watch(lambda: loop.call_soon_threadsafe(self._stopping.set), drain_seconds + ORPHANED_SECONDS)
        work = (self._flush_for_ever(), self._health.watch(), self._cutter.watch(), self._exchange.run())
        watch = (self._records.metrics.run(), self._prober.run(), self._outlook.watch())
        tasks = [loop.create_task(coroutine) for coroutine in (*work, *watch, self._report(line))]
        try:
            await self._stopping.wait()
            self._policy.is_ready = False
            if not await gateway.drain(drain_seconds):
                logger.warning("requests that outlived the drain were cut")
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await gateway.stop()
            await self._flush_the_last()
            listener.stop()
            await self._prober.close()
            await self._records.stop()
            await self._redis.aclose()
            self._store.close()
            self._files.cleanup()

    def _changed(self, change: Change) -> None:
        """A token is no longer what it was: end what it must not go on with, and tell the other tier."""
        self._cutter.token_changed(change.token_id)
        burial = asyncio.get_running_loop().create_task(self._shared.bury(change.secret_hash, change.version))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    async def _report(self, line: Line) -> None:
        """Tell the supervisor once this worker can decide: before that it must not take another's place."""
        while not self._gate.can_decide:  # noqa: ASYNC110 - the map's trust is a time and sends no event
            await asyncio.sleep(0.02)
        line.serves()

    def _gauges(self) -> Gauges:
        return Gauges(self._registry.connections, self._tally.backlog, int(bool(self._health.database)))

    def _stop(self, number: int) -> None:
        """Begin to drain; a second signal does not wait."""
        if self._stopping.is_set():
            sys.exit(128 + number)
        self._stopping.set()

    def _gateway(self) -> Gateway:
        settings = self._settings
        site = Site(self._policy, limits_of(settings), rules_of(settings), self._registry)
        mine, *others = given_listeners() or [listening_socket(settings.proxy.host, settings.proxy.port)]
        return Gateway(
            site,
            mine,
            neighbours=others,
            tls=tls_of(settings, Path(self._files.name)),
        )

    async def _flush(self) -> bool:
        """Write what was counted; counts that could not be written wait for the next time."""
        counts = self._tally.take(time.monotonic())
        if not counts:
            return True
        written = await self._store.run(lambda: self._tally.write(counts), "flush")
        if not written:
            self._tally.put_back(counts)
        return written

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                # A flush that has begun is finished even when the worker stops, so that no count goes twice.
                await asyncio.shield(self._flush())
            except Exception:
                logger.exception("a flush failed; the next one goes on")

    async def _flush_the_last(self) -> None:
        until = time.monotonic() + LAST_FLUSH_SECONDS
        while not await self._flush() and time.monotonic() < until:  # noqa: ASYNC110 - the database sends no event
            await asyncio.sleep(FLUSH_SECONDS)


def upstream_of(settings: Settings) -> Upstream:
    """Return where requests go."""
    url = urlsplit(settings.upstream.url)
    if not url.hostname:
        raise config.ConfigError("upstream.url: is required")
    tls = url.scheme == "https"
    return Upstream(
        addresses=settings.upstream.places,
        host_header=url.netloc.encode(),
        tls=tls,
        sni=_server_name(url.hostname) if tls else None,
    )


def _server_name(hostname: str) -> str | None:
    """Return the name to ask for in TLS; an address has none."""
    try:
        ip_address(hostname)
    except ValueError:
        return hostname
    return None


def tls_of(settings: Settings, private: Path) -> Tls | None:
    """Return the files that TLS needs, or None where the upstream speaks plain HTTP."""
    if not settings.upstream.url.startswith("https:"):
        return None
    return Tls(private, upstream_ca=Path(settings.upstream.ca_file) if settings.upstream.ca_file else None)


def limits_of(settings: Settings) -> Limits:
    """Return the layer's limits."""
    return Limits(
        connect_seconds=settings.upstream.connect_timeout_seconds,
        first_byte_seconds=settings.upstream.read_timeout_seconds,
    )


def rules_of(settings: Settings) -> Rules:
    """Return the layer's rules of forwarding."""
    return Rules(
        compatibility_prefix=PREFIX if settings.proxy.compatibility_prefix else b"",
        reserved=RESERVED_SEGMENT,
        cookies=frozenset({b"zenzefi", b"__host-zenzefi", b"zenzefi_access", b"__host-zenzefi_access"}),
        portal_url=settings.portal.address,
    )


def main() -> int:
    """Run one worker; what is wrong with the settings is one sentence on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    async def serve() -> None:
        await Worker(config.load()).run()

    try:
        asyncio.run(serve())
    except config.ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a process says why it will not start
        return 1
    except OSError as error:
        print(f"The proxy cannot listen: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
