"""Worker slots: one worker process each, restarted when it dies and replaced on reload."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from addon.process.control_socket import READY, child_environment

logger = logging.getLogger(__name__)

MIN_RESTART_SECONDS, MAX_RESTART_SECONDS = 0.2, 10.0
HEALTHY_AFTER_SECONDS = 60.0  # after this the next death counts as the first one
START_TIMEOUT_SECONDS = 60.0  # how long a roll waits for a new worker
COMMAND = (sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "addon.worker")


class WorkerNeverReady(Exception):
    """A worker ended before it had ever served, so starting it again would be of no use."""


class WorkerProcess:
    """One worker process, and our end of the line to it. The line closes when the process ends, and not before."""

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self.is_ready = False
        self._control, child_end = socket.socketpair()
        self._control.setblocking(False)
        with child_end:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                COMMAND,
                env={**os.environ, **child_environment(listeners, child_end)},
                stdin=subprocess.DEVNULL,
                pass_fds=[child_end.fileno(), *(listener.fileno() for listener in listeners)],
                process_group=0,  # Ctrl-C in a terminal must reach the supervisor alone
            )
        self.pid = self._process.pid
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self._ready = loop.create_task(self._wait_ready())
        self._exit = loop.create_task(self._wait_exit())

    @property
    def age(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    async def _wait_ready(self) -> bool:
        """Wait for the worker's word; return whether it came."""
        self.is_ready = await self._receive() == READY
        return self.is_ready

    async def _wait_exit(self) -> str:
        """Wait for the end of the process; return how it ended, in words."""
        while await self._ready and await self._receive():
            pass
        self._control.close()
        code = self._process.wait()
        self.is_ready = False
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def _receive(self) -> bytes:
        with contextlib.suppress(OSError):
            return await asyncio.get_running_loop().sock_recv(self._control, 1)
        return b""

    async def ready(self) -> bool:
        """Return once it serves, or False when it has ended before."""
        return await asyncio.shield(self._ready)

    async def exited(self) -> str:
        """Return how the process ended, once it has."""
        return await asyncio.shield(self._exit)

    async def stop(self, seconds: float) -> None:
        """Let the worker drain; returns when it is gone, which it is at the latest after `seconds`."""
        if not self._exit.done():
            self._process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await self.exited()
        except TimeoutError:
            logger.warning("worker %s did not stop within %g s, and is killed", self.pid, seconds)
            self.kill()
            await self.exited()

    def kill(self) -> None:
        if not self._exit.done():
            self._process.kill()


class WorkerSlot:
    """Keeps one worker on one listening socket, the first of `listeners`."""

    def __init__(self, number: int, listeners: Sequence[socket.socket], stop_timeout: float) -> None:
        self.worker: WorkerProcess | None = None
        self.processes: list[WorkerProcess] = []
        self._number = number
        self._listeners = listeners
        self._stop_timeout = stop_timeout
        self._replaced: asyncio.Future[bool] | None = None
        self._replace_requested = asyncio.Event()

    async def run(self, on_change: Callable[[], None]) -> None:
        """Keep a worker here until cancelled. Raises WorkerNeverReady when the very first one never serves."""
        wait, was_ready = MIN_RESTART_SECONDS, False
        while True:
            worker = self.worker = self._spawn()
            if worker is None:
                await asyncio.sleep(MAX_RESTART_SECONDS)
                continue
            if await worker.ready():
                was_ready = True
                logger.info("worker %s (pid %s) serves", self._number, worker.pid)
                on_change()
                self._finish_replace(True)
                worker = await self._watch(worker, on_change)
            how = await worker.exited()
            self.processes.remove(worker)
            if not was_ready:
                raise WorkerNeverReady(f"worker {self._number} {how} before it served.")
            wait = MIN_RESTART_SECONDS if worker.age > HEALTHY_AFTER_SECONDS else wait
            logger.error("worker %s (pid %s) %s; another one starts in %g s", self._number, worker.pid, how, wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, MAX_RESTART_SECONDS)

    async def replace(self) -> bool:
        """Replace the worker by a new one; return whether a new one serves now."""
        self._replaced = asyncio.get_running_loop().create_future()
        self._replace_requested.set()
        return await self._replaced

    async def _watch(self, worker: WorkerProcess, on_change: Callable[[], None]) -> WorkerProcess:
        """Carry out rolls while the worker lives; return whoever was here when it died."""
        while True:
            requested = asyncio.create_task(self._replace_requested.wait())
            ended = asyncio.create_task(worker.exited())
            try:
                await asyncio.wait([requested, ended], return_when=asyncio.FIRST_COMPLETED)
            finally:
                requested.cancel()
                ended.cancel()
            if not self._replace_requested.is_set():
                return worker
            replacement = await self._start_replacement()
            if replacement is None:
                logger.error("no new worker %s serves; the old one (pid %s) stays", self._number, worker.pid)
                self._finish_replace(False)
                continue
            old, worker = worker, replacement
            self.worker = worker
            on_change()
            logger.info("worker %s (pid %s) takes over from pid %s", self._number, worker.pid, old.pid)
            await old.stop(self._stop_timeout)
            self.processes.remove(old)
            self._finish_replace(True)

    async def _start_replacement(self) -> WorkerProcess | None:
        """Start a worker beside the present one; None when it does not serve in time."""
        replacement = self._spawn()
        if replacement is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                if await replacement.ready():
                    return replacement
        replacement.kill()
        await replacement.exited()
        self.processes.remove(replacement)
        return None

    def _spawn(self) -> WorkerProcess | None:
        """Start a worker; None when the system has no room for a process now."""
        try:
            worker = WorkerProcess(self._listeners)
        except OSError:
            logger.exception("worker %s cannot be started", self._number)
            return None
        self.processes.append(worker)
        return worker

    def _finish_replace(self, is_replaced: bool) -> None:
        """Tell whoever asked for a roll how it went."""
        self._replace_requested.clear()
        if self._replaced is not None and not self._replaced.done():
            self._replaced.set_result(is_replaced)
