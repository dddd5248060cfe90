"""Capture of finished exchanges for active inspections, without delaying traffic.

1. `InspectionCapture` reads the active inspections from the database, and ends each when its time is over.
2. While one is active, `CaptureObserver` observes the layer: it records matching exchanges and publishes them at their
   end.
3. The thread of a `FlowPublisher` builds redacted flows and appends them to a bounded stream in Redis.

Without an active inspection there is no thread and no observer: a request costs the layer a check of an empty tuple.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime

from addon.http1.connection.context import WorkerContext
from addon.http1.exchange import Exchange
from addon.http1.observe.recording import Recording
from addon.inspection.publisher import FlowPublisher
from addon.recording.counters import Counters
from addon.token_cache.database import DatabaseUnavailable, TokenDatabase
from models import clock
from models.config.settings import Settings
from models.inspections import InspectionTarget
from models.services.gateway import inspections
from models.services.gateway.inspections import ActiveInspection
from models.services.gateway.token_lookup import TokenSnapshot

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
# How often a worker with an active inspection counts published flows and checks whether the inspection has ended.
POLL_INTERVAL_SECONDS = 0.25
# Bounds the memory of recordings.
MAX_CONCURRENT_RECORDINGS = 256


class CaptureObserver:
    """The layer's observer while an inspection is active. Used on the event loop only."""

    def __init__(self, settings: Settings, publisher: FlowPublisher) -> None:
        self._rules = settings.inspection
        self._publisher = publisher
        self._everything = False
        self._paths: tuple[bytes, ...] = ()
        self._ids: frozenset[object] = frozenset()
        self._recordings: set[Recording] = set()
        # The present second of the loop's clock, and the number of recordings that began in it.
        self._second, self._started = 0, 0

    def set(self, inspections: Sequence[ActiveInspection]) -> None:
        """Replace the inspections whose exchanges are recorded."""
        self._everything = any(each.target is InspectionTarget.EVERYTHING for each in inspections)
        self._paths = tuple(each.subject for each in inspections if isinstance(each.subject, bytes))
        self._ids = frozenset(each.subject for each in inspections if not isinstance(each.subject, bytes | None))

    def begin(self, exchange: Exchange) -> Recording | None:
        """Record a matching exchange, within the limits of recordings per second and at the same time."""
        if exchange.request is None or not self._matches(exchange, exchange.request.path):
            return None
        second = int(exchange.ended or exchange.started)
        if second != self._second:
            self._second, self._started = second, 0
        if self._started >= self._rules.flows_per_second:
            self._publisher.drop("rate")
            return None
        if len(self._recordings) >= MAX_CONCURRENT_RECORDINGS:
            self._publisher.drop("busy")
            return None
        self._started += 1
        recording = Recording(self, self._rules.body_bytes)
        self._recordings.add(recording)
        return recording

    def opened(self, exchange: Exchange, recording: Recording) -> None:
        """Publish an open tunnel and end its recording, because tunnels last long and recordings are limited."""
        self.end(exchange, recording)

    def end(self, exchange: Exchange, recording: Recording) -> None:
        """Publish the exchange, if its inspection is still active."""
        self._recordings.discard(recording)
        if exchange.request is not None and self._matches(exchange, exchange.request.path):
            self._publisher.put(exchange, recording)

    def _matches(self, exchange: Exchange, path: bytes) -> bool:
        if self._everything or (self._paths and path.startswith(self._paths)):
            return True
        snapshot = exchange.snapshot
        return isinstance(snapshot, TokenSnapshot) and (snapshot.token_id in self._ids or snapshot.user_id in self._ids)


class InspectionCapture:
    """Follows the active inspections; without the database they still end on time. Used on the event loop only."""

    def __init__(
        self, settings: Settings, database: TokenDatabase, worker_context: WorkerContext, counters: Counters
    ) -> None:
        self._database = database
        self._worker = worker_context
        self._counters = counters
        self._publisher = FlowPublisher(settings)
        self._observer = CaptureObserver(settings, self._publisher)
        self._active: Sequence[ActiveInspection] = ()
        self._changed = asyncio.Event()

    def reload(self) -> None:
        """Request a reload of the active inspections."""
        self._changed.set()

    async def watch(self) -> None:
        """Apply the active inspections after every change, until cancelled."""
        while True:
            try:
                await self._wait()
                if self._changed.is_set():
                    self._changed.clear()
                    self._active = await self._read()
                self._apply(clock.now())
            except DatabaseUnavailable:
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("the active inspections cannot be applied; this is retried")
                await asyncio.sleep(RETRY_SECONDS)

    async def stop(self) -> None:
        """End all inspections; queued flows are still published, within a timeout."""
        self._active = ()
        self._apply(clock.now())
        await asyncio.to_thread(self._publisher.join)
        self._count_published()

    async def _wait(self) -> None:
        """Wait for a change; no longer than the poll interval while flows are published."""
        if not self._active and not self._publisher.is_alive:
            await self._changed.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_SECONDS):
                await self._changed.wait()

    async def _read(self) -> Sequence[ActiveInspection]:
        """Return the active inspections. Raises DatabaseUnavailable."""

        def read() -> Sequence[ActiveInspection]:
            with self._database.factory() as session:
                return inspections.load_active(session)

        return await self._database.run(read, "inspections", is_background=True)

    def _apply(self, now: datetime) -> None:
        """Install the observer for inspections that have not ended; remove it when there are none."""
        self._active = [each for each in self._active if each.ends_at > now]
        self._count_published()
        self._observer.set(self._active)
        if self._active:
            self._publisher.start()
            if self._observer not in self._worker.observers:
                self._worker.add_observer(self._observer)
        elif self._observer in self._worker.observers:
            self._worker.remove_observer(self._observer)
            self._publisher.stop()

    def _count_published(self) -> None:
        for name, by in self._publisher.take_counts().items():
            self._counters.add(*name, by=by)
