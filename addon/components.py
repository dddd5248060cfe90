"""The parts of one worker, put together: what decides, counts, watches and remembers."""

import asyncio
import contextlib
import logging
import time

from redis.asyncio import Redis

from addon.admission.disconnector import Disconnector
from addon.admission.gate import Gate
from addon.admission.health import Health
from addon.admission.live_settings import LiveSettings
from addon.admission.rate_limit_sync import RateLimitSync
from addon.admission.rate_limits import Rates
from addon.browser_access.endpoint import BrowserAccessEndpoint
from addon.http1.connection.context import WorkerContext
from addon.http1.connection.registry import Registry
from addon.inspection.capture import InspectionCapture
from addon.policy import GatePolicy
from addon.process.layer_settings import limits_of, rules_of, upstream_of
from addon.recording.counters import Counters
from addon.recording.exchange_recorder import ExchangeRecorder
from addon.recording.metrics import Gauges
from addon.recording.session_usage import FLUSH_SECONDS, SessionUsage
from addon.token_cache.database import TokenDatabase
from addon.token_cache.invalidation_listener import InvalidationListener, TokenChange
from addon.token_cache.memory_tier import MemoryTier
from addon.token_cache.redis_tier import RedisTier
from addon.upstream_health.prober import Prober
from addon.upstream_health.status import UpstreamStatus
from models.config.settings import Settings

logger = logging.getLogger(__name__)

# How long the last counts of a stopping worker wait for a database that does not answer.
LAST_FLUSH_SECONDS = 10.0
# How often everything is read anew while no notification can be relied on.
UNPROVEN_SECONDS = 0.5
# A Redis that does not answer within this is as good as down.
REDIS_SECONDS = 0.5


class WorkerComponents:
    """Everything one worker consists of but its sockets; `worker_context` is passed to the HTTP layer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        counts = Counters()
        self._store = TokenDatabase(settings, counts=counts)
        self._known = MemoryTier(settings.proxy.known_tokens)
        self._redis = Redis.from_url(
            settings.redis.url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
        )
        self._shared = RedisTier(self._redis, counts=counts)
        self._rates = Rates(
            per_minute=settings.limits.proxy_per_minute,
            at_once=settings.limits.proxy_at_once,
            workers=settings.proxy.workers * settings.platform.machines,
        )
        self._exchange = RateLimitSync(self._redis, self._rates, counts)
        self._gate = Gate(settings, self._store, self._known, shared=self._shared, rates=self._rates, counts=counts)
        self._overrides = LiveSettings(settings, self._store, self._take_up)
        self._tally = SessionUsage(self._store.factory)
        upstream = upstream_of(settings)
        self._outlook = UpstreamStatus(settings, self._redis, self._store, upstream)
        self._prober = Prober(settings, self._redis, is_closed=lambda: self._gate.is_closed)
        self._health = Health(settings, self._store, self._outlook)
        self._registry = Registry()
        self._records = ExchangeRecorder(settings, self._redis, counts, self._gauges)
        self._cutter = Disconnector(self._registry, self._store, self._known)
        self._policy = GatePolicy(
            self._gate,
            self._tally,
            self._health,
            upstream,
            entrance=BrowserAccessEndpoint(settings, self._store),
            records=self._records,
            in_use=self._cutter.in_use,
            compatibility=settings.proxy.compatibility_prefix,
        )
        self.worker_context = WorkerContext(self._policy, limits_of(settings), rules_of(settings), self._registry)
        self._inspections = InspectionCapture(settings, self._store, self.worker_context, counts)
        self._listener: InvalidationListener | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._flushing: asyncio.Task[bool] | None = None
        # The loop keeps weak references to tasks only.
        self._burials: set[asyncio.Task[None]] = set()

    @property
    def can_decide(self) -> bool:
        """Whether what this worker knows of tokens and settings is kept true by the database's notices."""
        return self._gate.can_decide and self._overrides.are_known

    def start(self) -> None:
        """Begin to listen, to count and to watch; the loop is running."""
        loop = asyncio.get_running_loop()
        self._listener = InvalidationListener(
            self._settings,
            self._known,
            loop,
            on_change=self._changed,
            on_return=self._returned,
            on_settings=self._overrides.changed,
            on_inspections=self._inspections.changed,
        )
        self._records.start()
        self._listener.start()
        work = (self._flush_for_ever(), self._health.watch(), self._cutter.watch(), self._exchange.run())
        records = (self._records.metrics.run(), self._records.metrics.watch_lag(), self._records.trail.run())
        watch = (self._prober.run(), self._outlook.watch(), self._overrides.watch(), self._inspections.watch())
        self._tasks = [loop.create_task(each) for each in (*work, *records, *watch, self._poll_without_notifications())]

    def reopen_log(self) -> None:
        """Write the access log to its file anew: the old one was moved away."""
        self._records.log.reopen()

    def draining(self) -> None:
        """From now on this worker says that it is not ready."""
        self._policy.is_ready = False

    async def finish(self) -> None:
        """Write the last counts and let go of everything; no request is under way any more."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._flush_the_last()
        if self._listener is not None:
            self._listener.stop()
        await self._prober.close()
        await self._inspections.stop()
        await self._records.stop()
        await self._redis.aclose()
        self._store.close()

    def _changed(self, change: TokenChange) -> None:
        """A token is no longer what it was: forget it in both tiers, and end what it must not go on with.

        All in one step of the loop: a request in between would remember what it hears from the other tier.
        """
        for secret_hash in change.secret_hashes:
            self._known.forget(secret_hash, change.token_id)
            burial = self._shared.bury(secret_hash, change.version)
            self._burials.add(burial)
            burial.add_done_callback(self._burials.discard)
        self._cutter.token_changed(change.token_id)

    def _returned(self) -> None:
        """Notices may have been missed: look at everything again."""
        self._cutter.everything_changed()
        self._overrides.changed()
        self._inspections.changed()

    async def _poll_without_notifications(self) -> None:
        """Find out by asking what is otherwise notified, while the listener proves nothing, until cancelled.

        A pooler in transaction mode, say, lets queries through and drops notifications: a token that is revoked then
        has to lose its open connections within a second all the same.
        """
        while True:
            await asyncio.sleep(UNPROVEN_SECONDS)
            if not self._gate.can_decide:
                self._overrides.changed()
                self._inspections.changed()
                await self._cutter.recheck_all()

    def _take_up(self, settings: Settings) -> None:
        """From now on these limits, this device policy and this maintenance are good."""
        self._rates.set_limits(per_minute=settings.limits.proxy_per_minute, at_once=settings.limits.proxy_at_once)
        self._gate.take_up(settings)
        self._store.rules = settings.sessions

    def _gauges(self) -> Gauges:
        return Gauges(self._registry.connections, self._tally.backlog, int(bool(self._health.database)))

    async def _flush(self) -> bool:
        """Write what was counted; counts that could not be written wait for the next time."""
        counts = self._tally.take(time.monotonic())
        if not counts:
            return True
        written = await self._store.run(lambda: self._tally.write(counts), "flush", is_own=True)
        if not written:
            self._tally.put_back(counts)
        return written

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            # A flush that has begun is finished even when the worker stops, so that no count goes twice or nowhere.
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
            try:
                await asyncio.shield(self._flushing)
            except Exception:
                logger.exception("a flush failed; the next one goes on")

    async def _flush_the_last(self) -> None:
        if self._flushing is not None:
            await self._flushing
        until = time.monotonic() + LAST_FLUSH_SECONDS
        while not await self._flush() and time.monotonic() < until:  # noqa: ASYNC110 - the database sends no event
            await asyncio.sleep(FLUSH_SECONDS)
