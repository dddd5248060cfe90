"""One place for a worker: who holds it now, who takes over, and what happens when the holder dies."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from addon.process.control_socket import SERVES, describe

logger = logging.getLogger(__name__)

SHORTEST_WAIT, LONGEST_WAIT = 0.2, 10.0
GOOD_LIFE_SECONDS = 60.0  # after this the next death counts as the first one
START_SECONDS = 60.0  # how long a roll waits for a new worker
COMMAND = (sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "addon.worker")


class NeverServed(Exception):
    """A worker ended before it had ever served, so starting it again would be of no use."""


class Spawned:
    """One worker process, and our end of the line to it. The line closes when the process ends, and not before."""

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self.serves = False
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                COMMAND,
                env={**os.environ, **describe(listeners, theirs)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *(listener.fileno() for listener in listeners)],
                process_group=0,  # Ctrl-C in a terminal must reach the supervisor alone
            )
        self.pid = self._process.pid
        loop = asyncio.get_running_loop()
        self._born = loop.time()
        self._ready = loop.create_task(self._hear())
        self._ended = loop.create_task(self._end())

    @property
    def age(self) -> float:
        return asyncio.get_running_loop().time() - self._born

    async def _hear(self) -> bool:
        """Wait for the worker's word; return whether it came."""
        self.serves = await self._receive() == SERVES
        return self.serves

    async def _end(self) -> str:
        """Wait for the end of the process; return how it ended, in words."""
        while await self._ready and await self._receive():
            pass
        self._line.close()
        code = self._process.wait()
        self.serves = False
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def _receive(self) -> bytes:
        with contextlib.suppress(OSError):
            return await asyncio.get_running_loop().sock_recv(self._line, 1)
        return b""

    async def ready(self) -> bool:
        """Return once it serves, or False when it has ended before."""
        return await asyncio.shield(self._ready)

    async def ended(self) -> str:
        """Return how the process ended, once it has."""
        return await asyncio.shield(self._ended)

    async def retire(self, seconds: float) -> None:
        """Let the worker drain; returns when it is gone, which it is at the latest after `seconds`."""
        if not self._ended.done():
            self._process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await self.ended()
        except TimeoutError:
            logger.warning("worker %s did not stop within %g s, and is killed", self.pid, seconds)
            self.kill()
            await self.ended()

    def kill(self) -> None:
        if not self._ended.done():
            self._process.kill()


class WorkerSlot:
    """Keeps one worker on one listening socket, the first of `listeners`."""

    def __init__(self, number: int, listeners: Sequence[socket.socket], patience: float) -> None:
        self.worker: Spawned | None = None
        self.living: list[Spawned] = []
        self._number = number
        self._listeners = listeners
        self._patience = patience
        self._wanted: asyncio.Future[bool] | None = None
        self._asked = asyncio.Event()

    async def keep(self, changed: Callable[[], None]) -> None:
        """Keep a worker here until cancelled. Raises NeverServed when the very first one never serves."""
        wait, has_served = SHORTEST_WAIT, False
        while True:
            worker = self.worker = self._spawn()
            if worker is None:
                await asyncio.sleep(LONGEST_WAIT)
                continue
            if await worker.ready():
                has_served = True
                logger.info("worker %s (pid %s) serves", self._number, worker.pid)
                changed()
                self._answer(True)
                worker = await self._hold(worker, changed)
            how = await worker.ended()
            self.living.remove(worker)
            if not has_served:
                raise NeverServed(f"worker {self._number} {how} before it served.")
            wait = SHORTEST_WAIT if worker.age > GOOD_LIFE_SECONDS else wait
            logger.error("worker %s (pid %s) %s; another one starts in %g s", self._number, worker.pid, how, wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def roll(self) -> bool:
        """Replace the worker by a new one; return whether a new one serves now."""
        self._wanted = asyncio.get_running_loop().create_future()
        self._asked.set()
        return await self._wanted

    async def _hold(self, worker: Spawned, changed: Callable[[], None]) -> Spawned:
        """Carry out rolls while the worker lives; return whoever was here when it died."""
        while True:
            asked = asyncio.create_task(self._asked.wait())
            ended = asyncio.create_task(worker.ended())
            try:
                await asyncio.wait([asked, ended], return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
                ended.cancel()
            if not self._asked.is_set():
                return worker
            fresh = await self._successor()
            if fresh is None:
                logger.error("no new worker %s serves; the old one (pid %s) stays", self._number, worker.pid)
                self._answer(False)
                continue
            old, worker = worker, fresh
            self.worker = worker
            changed()
            logger.info("worker %s (pid %s) takes over from pid %s", self._number, worker.pid, old.pid)
            await old.retire(self._patience)
            self.living.remove(old)
            self._answer(True)

    async def _successor(self) -> Spawned | None:
        """Start a worker beside the present one; None when it does not serve in time."""
        fresh = self._spawn()
        if fresh is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                if await fresh.ready():
                    return fresh
        fresh.kill()
        await fresh.ended()
        self.living.remove(fresh)
        return None

    def _spawn(self) -> Spawned | None:
        """Start a worker; None when the system has no room for a process now."""
        try:
            worker = Spawned(self._listeners)
        except OSError:
            logger.exception("worker %s cannot be started", self._number)
            return None
        self.living.append(worker)
        return worker

    def _answer(self, served: bool) -> None:
        """Tell whoever asked for a roll how it went."""
        self._asked.clear()
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(served)
