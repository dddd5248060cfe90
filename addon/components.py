"""Wiring of one worker: gate, token cache, limits, counters and background tasks."""

import asyncio
import contextlib
import logging
import time

from redis.asyncio import Redis

from addon.admission.disconnector import Disconnector
from addon.admission.gate import Gate
from addon.admission.guess_limiter import GuessLimiter
from addon.admission.identification import TokenIdentifier
from addon.admission.live_settings import LiveSettings
from addon.admission.rate_limit_sync import RateLimitSync
from addon.admission.rate_limits import RateLimiter
from addon.admission.request_attributes import AttributeReader
from addon.browser_access.endpoint import BrowserAccessEndpoint
from addon.http1.clients.registry import Registry
from addon.http1.connection.context import WorkerContext
from addon.inspection.capture import InspectionCapture
from addon.own_addresses.health import Health
from addon.own_addresses.router import OwnAddresses
from addon.policy import GatePolicy
from addon.process.layer_settings import build_forwarding_rules, build_limits, build_pool, build_upstream
from addon.recording.counters import Counters
from addon.recording.exchange_recorder import ExchangeRecorder
from addon.recording.metrics import WorkerGauges
from addon.recording.session_usage import FLUSH_SECONDS, SessionUsage
from addon.token_cache.database import TokenDatabase
from addon.token_cache.invalidation_listener import InvalidationListener, TokenChange
from addon.token_cache.lookup import TokenLookup
from addon.token_cache.memory_tier import MemoryTier
from addon.token_cache.redis_tier import RedisTier
from addon.upstream_health.prober import Prober
from addon.upstream_health.status import UpstreamStatus
from models.config.settings import Settings

logger = logging.getLogger(__name__)

# How long a stopping worker retries its last usage counts while the database is down.
FINAL_FLUSH_SECONDS = 10.0
# How often state is polled while the invalidation listener is disconnected.
FALLBACK_POLL_SECONDS = 0.5
# Redis counts as down after this.
REDIS_TIMEOUT_SECONDS = 0.5


class WorkerComponents:
    """The parts of one worker except its sockets; `worker_context` is passed to the HTTP layer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        counters = Counters()
        self._database = TokenDatabase(settings, counters=counters)
        self._memory_tier = MemoryTier(settings.proxy.known_tokens)
        self._redis = Redis.from_url(
            settings.redis.url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
        )
        self._redis_tier = RedisTier(self._redis, counters=counters)
        self._lookup = TokenLookup(
            self._memory_tier, self._redis_tier, self._database, grace_seconds=settings.proxy.grace_seconds
        )
        self._rate_limiter = RateLimiter(
            per_minute=settings.limits.proxy_per_minute,
            max_concurrent=settings.limits.proxy_at_once,
            workers=settings.proxy.workers * settings.platform.machines,
        )
        self._rate_limit_sync = RateLimitSync(self._redis, self._rate_limiter, counters)
        upstream = build_upstream(settings)
        identifier = TokenIdentifier(settings.tokens, self._lookup)
        self._gate = Gate(
            settings,
            identifier,
            self._memory_tier,
            database=self._database,
            rate_limiter=self._rate_limiter,
            guess_limiter=GuessLimiter(settings.limits.failures_per_minute),
            upstream=upstream,
            counters=counters,
        )
        self._live_settings = LiveSettings(settings, self._database, self._apply_settings)
        self._session_usage = SessionUsage(self._database.factory)
        self._upstream_status = UpstreamStatus(settings, self._redis, self._database, upstream)
        self._prober = Prober(settings, self._redis, in_maintenance=lambda: self._gate.in_maintenance)
        self._health = Health(settings, self._database, self._upstream_status)
        self._registry = Registry()
        self._pool = build_pool(settings, counters)
        self._recorder = ExchangeRecorder(settings, self._redis, counters, self._gauges)
        self._disconnector = Disconnector(self._registry, self._database, self._memory_tier)
        browser_access = BrowserAccessEndpoint(settings, self._database)
        reader = AttributeReader(settings.tokens, browser_access.cookie)
        self._own_addresses = OwnAddresses(
            reader,
            identifier,
            self._lookup,
            health=self._health,
            metrics=self._recorder.metrics,
            browser_access=browser_access,
            has_compatibility_addresses=settings.proxy.compatibility_prefix,
        )
        policy = GatePolicy(
            self._own_addresses,
            reader,
            self._gate,
            usage=self._session_usage,
            recorder=self._recorder,
            track=self._disconnector.track,
        )
        self.worker_context = WorkerContext(
            policy, build_limits(settings), build_forwarding_rules(settings), self._registry, self._pool
        )
        self._inspections = InspectionCapture(settings, self._database, self.worker_context, counters)
        self._listener: InvalidationListener | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._flushing: asyncio.Task[bool] | None = None
        # The loop keeps weak references to tasks only.
        self._marker_tasks: set[asyncio.Task[None]] = set()

    @property
    def can_decide(self) -> bool:
        """Whether cached tokens and settings are current: invalidations are received and the settings were loaded."""
        return self._lookup.is_leased and self._live_settings.are_loaded

    def start(self) -> None:
        """Start the listener and the background tasks; called with the event loop running."""
        loop = asyncio.get_running_loop()
        self._listener = InvalidationListener(
            self._settings,
            self._memory_tier,
            loop,
            on_change=self._on_token_change,
            on_reconnect=self._on_reconnect,
            on_settings=self._live_settings.reload,
            on_inspections=self._inspections.reload,
        )
        self._recorder.start()
        self._listener.start()
        work = (self._run_flush(), self._health.watch(), self._disconnector.watch(), self._rate_limit_sync.run())
        recording = (self._recorder.metrics.run(), self._recorder.metrics.watch_lag(), self._recorder.recent.run())
        watch = (
            self._prober.run(),
            self._upstream_status.watch(),
            self._live_settings.watch(),
            self._inspections.watch(),
        )
        self._tasks = [
            loop.create_task(each) for each in (*work, *recording, *watch, self._poll_without_notifications())
        ]

    def reopen_log(self) -> None:
        """Reopen the access log after its file was rotated."""
        self._recorder.log.reopen()

    def start_draining(self) -> None:
        """Report not ready from now on."""
        self._own_addresses.is_draining = True

    async def stop(self) -> None:
        """Write the last counts and close all connections; called when no request is in flight."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._flush_remaining()
        if self._listener is not None:
            self._listener.stop()
        await self._prober.close()
        await self._inspections.stop()
        await self._recorder.stop()
        await self._redis.aclose()
        self._database.close()

    def _on_token_change(self, change: TokenChange) -> None:
        """Invalidate a changed token in both cache tiers, and recheck its open connections.

        All in one step of the event loop: a request in between would cache the old snapshot from the other tier again.
        """
        for secret_hash in change.secret_hashes:
            self._memory_tier.invalidate(secret_hash, change.token_id)
            marker = self._redis_tier.mark_invalidated(secret_hash, change.version)
            self._marker_tasks.add(marker)
            marker.add_done_callback(self._marker_tasks.discard)
        self._disconnector.token_changed(change.token_id)

    def _on_reconnect(self) -> None:
        """Reload everything: cache-invalidation messages may have been missed."""
        self._disconnector.all_changed()
        self._live_settings.reload()
        self._inspections.reload()

    async def _poll_without_notifications(self) -> None:
        """Poll tokens, settings and inspections while no invalidations are received, until cancelled.

        A pooler in transaction mode, for example, passes queries and drops notifications: the open connections of a
        revoked token have to be aborted within a second all the same.
        """
        while True:
            await asyncio.sleep(FALLBACK_POLL_SECONDS)
            if not self._lookup.is_leased:
                self._live_settings.reload()
                self._inspections.reload()
                await self._disconnector.recheck_all()

    def _apply_settings(self, settings: Settings) -> None:
        """Apply changed limits, device policy and maintenance mode."""
        self._rate_limiter.set_limits(
            per_minute=settings.limits.proxy_per_minute, max_concurrent=settings.limits.proxy_at_once
        )
        self._gate.apply_settings(settings)
        self._database.rules = settings.sessions

    def _gauges(self) -> WorkerGauges:
        return WorkerGauges(
            open_connections=self._registry.connections,
            flush_backlog=self._session_usage.backlog,
            database_connected=int(bool(self._health.database)),
            upstream_connections=self._pool.open,
            upstream_idle=self._pool.idle,
        )

    async def _flush(self) -> bool:
        """Write the usage counts; counts that could not be written go with the next flush."""
        counts = self._session_usage.take(time.monotonic())
        if not counts:
            return True
        written = await self._database.run(lambda: self._session_usage.write(counts), "flush", is_background=True)
        if not written:
            self._session_usage.restore(counts)
        return written

    async def _run_flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            # A flush that has begun is completed even when the worker stops, so that no count is written twice or lost.
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
            try:
                await asyncio.shield(self._flushing)
            except Exception:
                logger.exception("writing the usage counts failed; it is retried")

    async def _flush_remaining(self) -> None:
        if self._flushing is not None:
            await self._flushing
        until = time.monotonic() + FINAL_FLUSH_SECONDS
        while not await self._flush() and time.monotonic() < until:  # noqa: ASYNC110 - the database sends no event
            await asyncio.sleep(FLUSH_SECONDS)
