"""Showing finished flows to operators, while and only while an admin wants it, and never in anybody's way.

1. `Inspections` learns from the database what is to be shown, and ends by itself when the time is over.
2. While something is, `Watch` stands at the layer: it records what fits and hands it on once it is over, or drops it.
3. The thread of a `Sender` makes flows without secrets and appends them to a bounded stream in Redis.

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
from addon.token_cache.database import StoreDown, TokenDatabase
from models import clock
from models.config.settings import Settings
from models.inspections import InspectionTarget
from models.services.gateway import inspections
from models.services.gateway.inspections import Watched
from models.services.gateway.sessions import TokenSnapshot

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
# How often a worker that shows something counts what it sent, and looks whether its time is over.
LOOK_SECONDS = 0.25
# So many exchanges are recorded at the same time: more of them would be more memory.
AT_ONCE = 256


class Watch:
    """What stands at the layer while something is shown. Only the loop touches it."""

    def __init__(self, settings: Settings, sender: FlowPublisher) -> None:
        self._rules = settings.inspection
        self._sender = sender
        self._shows_all = False
        self._paths: tuple[bytes, ...] = ()
        self._subjects: frozenset[object] = frozenset()
        self._under_way: set[Recording] = set()
        # The second of the loop's clock in which so many recordings began.
        self._second, self._begun = 0, 0

    def set(self, watched: Sequence[Watched]) -> None:
        """From now on show this."""
        self._shows_all = any(each.target is InspectionTarget.EVERYTHING for each in watched)
        self._paths = tuple(each.subject for each in watched if isinstance(each.subject, bytes))
        self._subjects = frozenset(each.subject for each in watched if not isinstance(each.subject, bytes | None))

    def begin(self, exchange: Exchange) -> Recording | None:
        """Record what is to be shown, as far as there is room, and no more in a second than is allowed."""
        if exchange.request is None or not self._fits(exchange, exchange.request.path):
            return None
        second = int(exchange.ended or exchange.started)
        if second != self._second:
            self._second, self._begun = second, 0
        if self._begun >= self._rules.flows_per_second:
            self._sender.drop("rate")
            return None
        if len(self._under_way) >= AT_ONCE:
            self._sender.drop("busy")
            return None
        self._begun += 1
        recording = Recording(self, self._rules.body_bytes)
        self._under_way.add(recording)
        return recording

    def opened(self, exchange: Exchange, recording: Recording) -> None:
        """Hand on how a tunnel began. From now on nothing of it is kept, so that many of them leave room for others."""
        self.end(exchange, recording)

    def end(self, exchange: Exchange, recording: Recording) -> None:
        """Hand it on, unless nobody wants it any more."""
        self._under_way.discard(recording)
        if exchange.request is not None and self._fits(exchange, exchange.request.path):
            self._sender.put(exchange, recording)

    def _fits(self, exchange: Exchange, path: bytes) -> bool:
        if self._shows_all or (self._paths and path.startswith(self._paths)):
            return True
        known = exchange.known
        return isinstance(known, TokenSnapshot) and (
            known.token_id in self._subjects or known.user_id in self._subjects
        )


class InspectionCapture:
    """Keeps true what is shown. Only the loop touches it; without the database it ends when the time is over."""

    def __init__(
        self, settings: Settings, store: TokenDatabase, worker_context: WorkerContext, counts: Counters
    ) -> None:
        self._store = store
        self._worker = worker_context
        self._counts = counts
        self._sender = FlowPublisher(settings)
        self._watch = Watch(settings, self._sender)
        self._running: Sequence[Watched] = ()
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """A notice came, or notices may have been missed: read anew."""
        self._changed.set()

    async def watch(self) -> None:
        """Take up what is to be shown whenever that changes, until cancelled."""
        while True:
            try:
                await self._wait()
                if self._changed.is_set():
                    self._changed.clear()
                    self._running = await self._read()
                self._take_up(clock.now())
            except StoreDown:
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("what is to be shown cannot be taken up; it is tried again")
                await asyncio.sleep(RETRY_SECONDS)

    async def stop(self) -> None:
        """Show nothing more; what waits still goes, if that is soon."""
        self._running = ()
        self._take_up(clock.now())
        await asyncio.to_thread(self._sender.join)
        self._count()

    async def _wait(self) -> None:
        """Wait for a change; while something is shown or still to be counted, no longer than a moment."""
        if not self._running and not self._sender.is_alive:
            await self._changed.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._changed.wait()

    async def _read(self) -> Sequence[Watched]:
        """Return what is to be shown. Raises StoreDown."""

        def ask() -> Sequence[Watched]:
            with self._store.factory() as session:
                return inspections.running(session)

        return await self._store.run(ask, "inspections", is_own=True)

    def _take_up(self, now: datetime) -> None:
        """Let what is running now be shown, and nothing else."""
        self._running = [each for each in self._running if each.ends_at > now]
        self._count()
        self._watch.set(self._running)
        if self._running:
            self._sender.start()
            if self._watch not in self._worker.observers:
                self._worker.add_observer(self._watch)
        elif self._watch in self._worker.observers:
            self._worker.remove_observer(self._watch)
            self._sender.stop()

    def _count(self) -> None:
        for name, by in self._sender.told().items():
            self._counts.add(*name, by=by)
