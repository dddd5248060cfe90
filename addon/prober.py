"""The one active prober. Each worker stands by; whoever holds an advisory lock in PostgreSQL asks the upstream.

1. The lock lives in a database connection of its own. When its worker dies, PostgreSQL lets go of it, and another
   worker has it at its next try; a machine that vanishes is given up after some ten seconds.
2. The outage record is written on the very connection that holds the lock, so that a prober that lost the lock without
   noticing cannot write.
3. The last word is left in Redis, for `addon.outlook` in every worker and for the portal.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from addon.probing import Unprobed, ask_all, probe_of
from models import clock, database
from models.config import ConfigError, Settings
from models.services import outages
from models.services.outages import STATE_KEY, UpstreamState

logger = logging.getLogger(__name__)

STAND_BY_SECONDS = 1.0
# Any number of ours; the lock counts within one database.
ADVISORY_LOCK = 7_401_992
# Settings of the server for this one connection: a peer that vanished is given up after 5 + 3 * 2 seconds.
_KEEPALIVE = (("tcp_keepalives_idle", 5), ("tcp_keepalives_interval", 2), ("tcp_keepalives_count", 3))


class Prober:
    """This worker's candidacy. Its blocking calls run in one thread, which owns the connection."""

    def __init__(self, settings: Settings, redis: Redis, *, is_closed: Callable[[], bool] = lambda: False) -> None:
        self._upstream = settings.upstream
        self._is_closed = is_closed
        self._redis = redis
        try:
            self._probe = probe_of(settings.upstream)
        except OSError as error:
            raise ConfigError(f"upstream.ca_file: cannot be used: {error.strerror}") from None
        self._engine = _engine(settings)
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prober")
        self._previous_failed_at: datetime | None = None

    async def run(self) -> None:
        """Stand by, and probe while this worker is the one, until cancelled."""
        is_silent = False
        while True:
            try:
                is_elected = await self._in_thread(self._try_lock)
                is_silent = False
                if is_elected:
                    logger.info("this worker probes the upstream")
                    await self._probe_for_ever()
            except (SQLAlchemyError, Unprobed) as error:
                if not is_silent:
                    logger.warning("this worker does not probe the upstream: %s", type(error).__name__)
                is_silent = True
            except Exception:
                logger.exception("the prober failed; it goes on")
            else:
                await asyncio.sleep(STAND_BY_SECONDS)
                continue
            # Whatever went wrong, another worker may do better; and a broken connection holds no lock.
            await self._in_thread(self._resign)
            await asyncio.sleep(STAND_BY_SECONDS)

    async def close(self) -> None:
        """Let another worker take over."""
        await self._in_thread(self._resign)
        self._thread.shutdown(wait=False)

    async def probe_once(self) -> None:
        """Ask, and write down what came of it. Raises Unprobed, and SQLAlchemyError when the lock may be lost."""
        started, clock_started = clock.now(), time.monotonic()
        answers = await ask_all(self._probe, self._upstream.places)
        took = time.monotonic() - clock_started
        # Maintenance takes the buyers' time as an outage does, so it is recorded, and credited, as one.
        is_good = any(answer.is_good for answer in answers.values()) and not self._is_closed()
        is_up = await self._in_thread(lambda: self._note(is_good, started))
        addresses = {f"{host}:{port}": answer.is_good for (host, port), answer in answers.items()}
        asked_at = started.isoformat(timespec="seconds")
        ends = min((answer.certificate_ends for answer in answers.values() if answer.certificate_ends), default=None)
        state = UpstreamState(self._upstream.url, is_up, addresses, round(took, 6), asked_at, ends)
        try:
            await self._redis.set(STATE_KEY, state.as_json(), px=self._upstream.probe_gap)
        except (RedisError, OSError) as error:
            logger.info("the upstream's state stays out of Redis: %s", type(error).__name__)

    async def _probe_for_ever(self) -> None:
        self._previous_failed_at = None
        while True:
            started = time.monotonic()
            await self.probe_once()
            took = time.monotonic() - started
            await asyncio.sleep(max(0.0, self._upstream.probe_interval_seconds - took))

    async def _in_thread[T](self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _try_lock(self) -> bool:
        if self._connection is None:
            self._connection = self._engine.connect()
            for name, seconds in _KEEPALIVE:
                self._connection.execute(text(f"SET {name} = {seconds}"))
            self._connection.commit()
        with self._connection.begin():
            return bool(self._connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}))

    def _resign(self) -> None:
        """Close the connection, and the lock with it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()

    def _note(self, is_good: bool, moment: datetime) -> bool:
        """Write the probe down; returns whether the upstream counts as up."""
        if self._connection is None:
            raise Unprobed("the lock is gone")
        gap = self._upstream.probe_gap
        with Session(self._connection) as session, session.begin():
            if is_good:
                closed = outages.note_success(session, moment=clock.now(), gap=gap)
                self._previous_failed_at = None
                if closed is not None:
                    logger.warning("the outage of the upstream is over; it began at %s", closed.opened_at)
                return True
            held = outages.note_failure(session, previous_failed_at=self._previous_failed_at, failed_at=moment, gap=gap)
            if held is not None and held.opened_at == self._previous_failed_at:
                logger.warning("the upstream is out since %s", held.opened_at)
            self._previous_failed_at = moment
            return held is None


def _engine(settings: Settings) -> Engine:
    """Return an engine for the connection that holds the lock: not pooled, and given up soon when nobody answers."""
    options = database.engine_options(settings.database)
    connect_args = {**options["connect_args"], "application_name": "zenzefi-prober", "tcp_user_timeout": 5000}
    return create_engine(settings.database.url, poolclass=NullPool, connect_args=connect_args)
