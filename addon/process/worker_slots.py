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
HEALTHY_AFTER_SECONDS = 60.0  # a worker that ran this long is restarted without back-off
START_TIMEOUT_SECONDS = 60.0  # how long a rolling restart waits for a replacement
COMMAND = (sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "addon.worker")


class WorkerNeverReady(Exception):
    """The first worker of a slot ended before it was ready, so restarting it would not help."""


class WorkerProcess:
    """One worker process and the supervisor's end of its control socket, which closes when the process ends."""

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
                process_group=0,  # Ctrl-C in a terminal must reach the supervisor only
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
        """Wait until the worker reports ready; return False when it ends before."""
        self.is_ready = await self._receive() == READY
        return self.is_ready

    async def _wait_exit(self) -> str:
        """Wait for the end of the process; return how it ended, for the log."""
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
        """Return True once the worker is ready, False when it has ended before."""
        return await asyncio.shield(self._ready)

    async def exited(self) -> str:
        """Return how the process ended, once it has."""
        return await asyncio.shield(self._exit)

    async def stop(self, seconds: float) -> None:
        """Let the worker drain, kill it after `seconds`, and return when it has ended."""
        if not self._exit.done():
            self._process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await self.exited()
        except TimeoutError:
            logger.warning("worker %s did not stop within %g s and is killed", self.pid, seconds)
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
        """Keep a worker running until cancelled. Raises WorkerNeverReady when the first one never becomes ready."""
        wait, was_ready = MIN_RESTART_SECONDS, False
        while True:
            worker = self.worker = self._spawn()
            if worker is None:
                await asyncio.sleep(MAX_RESTART_SECONDS)
                continue
            if await worker.ready():
                was_ready = True
                logger.info("worker %s (pid %s) is ready", self._number, worker.pid)
                on_change()
                self._finish_replace(True)
                worker = await self._watch(worker, on_change)
            how = await worker.exited()
            self.processes.remove(worker)
            if not was_ready:
                raise WorkerNeverReady(f"worker {self._number} {how} before it was ready.")
            wait = MIN_RESTART_SECONDS if worker.age > HEALTHY_AFTER_SECONDS else wait
            logger.error("worker %s (pid %s) %s; it is restarted in %g s", self._number, worker.pid, how, wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, MAX_RESTART_SECONDS)

    async def replace(self) -> bool:
        """Replace the worker; return whether the replacement is ready."""
        self._replaced = asyncio.get_running_loop().create_future()
        self._replace_requested.set()
        return await self._replaced

    async def _watch(self, worker: WorkerProcess, on_change: Callable[[], None]) -> WorkerProcess:
        """Replace the worker on request until one dies by itself; return that one."""
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
                logger.error("no replacement of worker %s became ready; pid %s keeps running", self._number, worker.pid)
                self._finish_replace(False)
                continue
            old, worker = worker, replacement
            self.worker = worker
            on_change()
            logger.info("worker %s (pid %s) replaces pid %s", self._number, worker.pid, old.pid)
            await old.stop(self._stop_timeout)
            self.processes.remove(old)
            self._finish_replace(True)

    async def _start_replacement(self) -> WorkerProcess | None:
        """Start a worker beside the present one; None when it does not become ready in time."""
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
        """Start a worker; None when the system cannot create a process now."""
        try:
            worker = WorkerProcess(self._listeners)
        except OSError:
            logger.exception("worker %s cannot be started", self._number)
            return None
        self.processes.append(worker)
        return worker

    def _finish_replace(self, is_replaced: bool) -> None:
        """Return the result to the waiting `replace`."""
        self._replace_requested.clear()
        if self._replaced is not None and not self._replaced.done():
            self._replaced.set_result(is_replaced)
