"""Prober of the upstream: of all workers, the one that holds a lease in PostgreSQL probes and records outages.

1. The lease is renewed with each probe. When its worker dies, it expires, and another worker takes it at its next try;
   a worker that stops releases it.
2. The outage record is written in the transaction that renews the lease, so that a prober that lost the lease without
   noticing cannot write.
3. The last result is stored in Redis, for `addon.upstream_health.status` in every worker and for the portal.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from addon.upstream_health.probe import ProbeImpossible, build_probe, probe_all
from models import clock, database
from models.config.settings import ConfigError, Settings
from models.services.gateway import leases, outages
from models.services.gateway.outages import STATE_KEY, UpstreamState

logger = logging.getLogger(__name__)

LEASE_RETRY_SECONDS = 1.0
LEASE = "upstream-prober"


class Prober:
    """This worker's prober, active while it holds the lease. Blocking calls run in one thread, over one connection."""

    def __init__(self, settings: Settings, redis: Redis, *, in_maintenance: Callable[[], bool] = lambda: False) -> None:
        self._upstream = settings.upstream
        self._in_maintenance = in_maintenance
        self._redis = redis
        try:
            self._probe = build_probe(settings.upstream)
        except OSError as error:
            raise ConfigError(f"upstream.ca_file: cannot be used: {error.strerror}") from None
        self._engine = database.connect(settings.database.model_copy(update={"pool_size": 1}), name="zenzefi-prober")
        self._sessions = database.sessions(self._engine)
        self._id = uuid.uuid4()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prober")
        self._previous_failed_at: datetime | None = None

    async def run(self) -> None:
        """Try to take the lease, and probe while holding it, until cancelled."""
        is_failing = False
        while True:
            try:
                is_elected = await self._in_thread(self._take_lease)
                is_failing = False
                if is_elected:
                    logger.info("this worker probes the upstream")
                    await self._run_probes()
            except (SQLAlchemyError, ProbeImpossible) as error:
                if not is_failing:
                    logger.warning("this worker does not probe the upstream: %s", type(error).__name__)
                is_failing = True
            except Exception:
                logger.exception("the prober failed; it is restarted")
            else:
                await asyncio.sleep(LEASE_RETRY_SECONDS)
                continue
            # Another worker may be able to probe.
            await self._in_thread(self._release_lease)
            await asyncio.sleep(LEASE_RETRY_SECONDS)

    async def close(self) -> None:
        """Release the lease and close the connection."""
        await self._in_thread(self._release_lease)
        await self._in_thread(self._engine.dispose)
        self._thread.shutdown(wait=False)

    async def probe_once(self) -> None:
        """Probe and record the result. Raises ProbeImpossible when another worker probes, and SQLAlchemyError."""
        started, clock_started = clock.now(), time.monotonic()
        answers = await probe_all(self._probe, self._upstream.endpoints)
        took = time.monotonic() - clock_started
        # Maintenance mode is recorded and credited as an outage, because tokens cannot be used either.
        is_good = any(answer.is_good for answer in answers.values()) and not self._in_maintenance()
        is_up = await self._in_thread(lambda: self._record(is_good, started))
        addresses = {f"{host}:{port}": answer.is_good for (host, port), answer in answers.items()}
        asked_at = started.isoformat(timespec="seconds")
        ends = min((answer.certificate_ends for answer in answers.values() if answer.certificate_ends), default=None)
        state = UpstreamState(self._upstream.url, is_up, addresses, round(took, 6), asked_at, ends)
        try:
            await self._redis.set(STATE_KEY, state.as_json(), px=self._upstream.probe_gap)
        except (RedisError, OSError) as error:
            logger.info("the upstream's state cannot be stored in Redis: %s", type(error).__name__)

    async def _run_probes(self) -> None:
        self._previous_failed_at = None
        while True:
            started = time.monotonic()
            await self.probe_once()
            took = time.monotonic() - started
            await asyncio.sleep(max(0.0, self._upstream.probe_interval_seconds - took))

    async def _in_thread[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _take_lease(self) -> bool:
        with self._sessions.begin() as session:
            return leases.hold(session, LEASE, self._id, self._upstream.probe_lease)

    def _release_lease(self) -> None:
        """Release the lease; when the database does not answer, it expires."""
        with contextlib.suppress(SQLAlchemyError), self._sessions.begin() as session:
            leases.release(session, LEASE, self._id)

    def _record(self, is_good: bool, moment: datetime) -> bool:
        """Record a probe; returns whether the upstream counts as up."""
        gap = self._upstream.probe_gap
        with self._sessions.begin() as session:
            if not leases.hold(session, LEASE, self._id, self._upstream.probe_lease):
                raise ProbeImpossible("another worker holds the lease")
            if is_good:
                closed = outages.note_success(session, moment=clock.now(), gap=gap)
                self._previous_failed_at = None
                if closed is not None:
                    logger.warning("the upstream's outage has ended; it began at %s", closed.opened_at)
                return True
            opened = outages.note_failure(
                session, previous_failed_at=self._previous_failed_at, failed_at=moment, gap=gap
            )
            if opened is not None and opened.opened_at == self._previous_failed_at:
                logger.warning("the upstream is down since %s", opened.opened_at)
            self._previous_failed_at = moment
            return opened is None
