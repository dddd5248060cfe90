"""Capture of finished exchanges for active inspections, outside the path of traffic.

1. `InspectionCapture` learns from the database what is to be shown, and ends by itself when the time is over.
2. While one is active, `CaptureObserver` observes the layer: it records matches and publishes them at their end.
3. The thread of a `FlowPublisher` makes flows without secrets and appends them to a bounded stream in Redis.

With nothing to show there is no thread and no observer: a request costs the layer one look at an empty tuple.
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
# How often a worker that shows something counts what it sent, and looks whether its time is over.
POLL_INTERVAL_SECONDS = 0.25
# So many exchanges are recorded at the same time: more of them would be more memory.
MAX_CONCURRENT_RECORDINGS = 256


class CaptureObserver:
    """What stands at the layer while something is shown. Only the loop touches it."""

    def __init__(self, settings: Settings, publisher: FlowPublisher) -> None:
        self._rules = settings.inspection
        self._publisher = publisher
        self._everything = False
        self._paths: tuple[bytes, ...] = ()
        self._ids: frozenset[object] = frozenset()
        self._recordings: set[Recording] = set()
        # The second of the loop's clock in which so many recordings began.
        self._second, self._started = 0, 0

    def set(self, watched: Sequence[ActiveInspection]) -> None:
        """From now on show this."""
        self._everything = any(each.target is InspectionTarget.EVERYTHING for each in watched)
        self._paths = tuple(each.subject for each in watched if isinstance(each.subject, bytes))
        self._ids = frozenset(each.subject for each in watched if not isinstance(each.subject, bytes | None))

    def begin(self, exchange: Exchange) -> Recording | None:
        """Record what is to be shown, as far as there is room, and no more in a second than is allowed."""
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
        """Hand on how a tunnel began. From now on nothing of it is kept, so that many of them leave room for others."""
        self.end(exchange, recording)

    def end(self, exchange: Exchange, recording: Recording) -> None:
        """Hand it on, unless nobody wants it any more."""
        self._recordings.discard(recording)
        if exchange.request is not None and self._matches(exchange, exchange.request.path):
            self._publisher.put(exchange, recording)

    def _matches(self, exchange: Exchange, path: bytes) -> bool:
        if self._everything or (self._paths and path.startswith(self._paths)):
            return True
        snapshot = exchange.snapshot
        return isinstance(snapshot, TokenSnapshot) and (snapshot.token_id in self._ids or snapshot.user_id in self._ids)


class InspectionCapture:
    """Keeps true what is shown. Only the loop touches it; without the database it ends when the time is over."""

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
        """Take up what is to be shown whenever that changes, until cancelled."""
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
                logger.exception("what is to be shown cannot be taken up; it is tried again")
                await asyncio.sleep(RETRY_SECONDS)

    async def stop(self) -> None:
        """Show nothing more; what waits still goes, if that is soon."""
        self._active = ()
        self._apply(clock.now())
        await asyncio.to_thread(self._publisher.join)
        self._count_published()

    async def _wait(self) -> None:
        """Wait for a change; while something is shown or still to be counted, no longer than a moment."""
        if not self._active and not self._publisher.is_alive:
            await self._changed.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_SECONDS):
                await self._changed.wait()

    async def _read(self) -> Sequence[ActiveInspection]:
        """Return what is to be shown. Raises DatabaseUnavailable."""

        def ask() -> Sequence[ActiveInspection]:
            with self._database.factory() as session:
                return inspections.load_active(session)

        return await self._database.run(ask, "inspections", is_background=True)

    def _apply(self, now: datetime) -> None:
        """Let what is running now be shown, and nothing else."""
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
