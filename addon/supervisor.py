"""Supervisor of the proxy's workers: `python -m addon.supervisor`.

1. It owns the listening sockets, one for each worker, on one port (SO_REUSEPORT). They live as long as it does, so that
   no connection is lost with a worker: what waits in a socket's queue is accepted by the next one (docs/adr/0004).
2. A worker that dies is started again, the later the more often it has died in a row.
3. SIGHUP rolls: for one place after the other a new worker starts, reads the settings anew, and the old one drains when
   the new one serves. The number of workers and the address stay what they were at the start.
4. SIGTERM and SIGINT let every worker drain; a second signal does not wait. When the supervisor itself is killed, its
   workers notice, drain and end.
5. SIGUSR1 makes every worker open its access log anew.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from addon.process import tls_files
from addon.process.listening_sockets import listening_socket
from addon.process.worker_slots import WorkerSlot
from models.config import settings as config
from models.config.settings import Settings

logger = logging.getLogger(__name__)

# After the drain a worker cuts what is left, writes its last counts and closes its connections.
STOP_MARGIN_SECONDS = 15.0
WORKERS_FILE = "ZENZEFI_WORKERS_FILE"


class StartError(Exception):
    """The workers cannot be started; the message is one sentence."""


class Supervisor:
    """Keeps a worker in every place. Everything happens on the loop."""

    def __init__(self, settings: Settings, listeners: Sequence[socket.socket], workers_file: Path | None) -> None:
        self._stop_timeout = settings.proxy.drain_seconds + STOP_MARGIN_SECONDS
        self._file = workers_file
        self._listeners = listeners
        self._slots = [
            WorkerSlot(number, [listener, *(other for other in listeners if other is not listener)], self._stop_timeout)
            for number, listener in enumerate(listeners, 1)
        ]
        self._stop_requested = asyncio.Event()
        self._kill_requested = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> int:
        """Keep the workers until asked to stop; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        logger.info("supervisor %s runs %s worker(s)", os.getpid(), len(self._slots))
        work: list[Coroutine[Any, Any, Any]] = [slot.run(self._write_file) for slot in self._slots]
        work += [self._stop_requested.wait(), self._restart_on_sighup()]
        tasks: list[asyncio.Task[Any]] = [loop.create_task(coroutine) for coroutine in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            failures = [task.exception() for task in done if task.exception() is not None]
            for failure in failures:
                logger.error("the proxy ends: %s", failure)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # The workers are to be the last who hold them: a connection that came during the drain would wait in a
            # queue that nobody reads any more, instead of being refused and tried elsewhere.
            for listener in self._listeners:
                listener.close()
            await self._stop_workers()
            if self._file is not None:
                self._file.unlink(missing_ok=True)
        return 1 if failures else 0

    def _on_stop(self) -> None:
        (self._kill_requested if self._stop_requested.is_set() else self._stop_requested).set()

    def _reopen_logs(self) -> None:
        """Let everybody who serves write to a new access log; whoever only starts would not know what to do."""
        for worker in (worker for slot in self._slots for worker in slot.processes if worker.is_ready):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGUSR1)

    async def _stop_workers(self) -> None:
        """Let everybody drain at once; whoever takes too long is killed, and a second signal kills all."""
        processes = [worker for slot in self._slots for worker in slot.processes]
        stopping: asyncio.Future[Any] = asyncio.gather(*(worker.stop(self._stop_timeout) for worker in processes))
        kill_requested: asyncio.Future[Any] = asyncio.create_task(self._kill_requested.wait())
        await asyncio.wait([stopping, kill_requested], return_when=asyncio.FIRST_COMPLETED)
        kill_requested.cancel()
        for worker in processes:
            worker.kill()
        await stopping

    async def _restart_on_sighup(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                tls_files.check_tls_files(config.load_settings())
            except config.ConfigError as error:
                logger.error("nothing is rolled, because the settings are wrong: %s", error)
                continue
            logger.info("rolling %s worker(s)", len(self._slots))
            for slot in self._slots:
                if not await slot.replace():
                    logger.error("the roll ends here; the workers that are left stay")
                    break
            else:
                logger.info("all workers are new")

    def _write_file(self) -> None:
        """Write down who serves, once everybody does."""
        ready = [slot.worker for slot in self._slots if slot.worker is not None and slot.worker.is_ready]
        if self._file is None or len(ready) < len(self._slots):
            return
        fresh = self._file.with_name(self._file.name + ".new")
        try:
            state = {"supervisor": os.getpid(), "workers": [worker.pid for worker in ready]}
            fresh.write_text(json.dumps(state), encoding="utf-8")
            fresh.replace(self._file)
        except OSError as error:  # a full disk is no reason to stop what runs
            logger.warning("the workers cannot be written down: %s", error.strerror)


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """Open the sockets of all workers. Raises Unstartable when somebody else has the port.

    Nobody listens on them yet: the first worker does when it has loaded. Whoever comes before that is refused, and may
    go to another machine, instead of waiting.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners: list[socket.socket] = []
    try:
        # Without SO_REUSEPORT first: with it, a port that another program shares would seem to be free.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
        for _ in range(count):
            listeners.append(listening_socket(host, port))  # noqa: PERF401 - those that stand are closed below
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise StartError(f"The proxy cannot listen on {host} port {port}: {error.strerror or error}.") from None
    return listeners


def main() -> int:
    """Run until asked to stop; what is wrong from the start is one sentence on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = config.load_settings()
        tls_files.check_tls_files(settings)
        proxy = settings.proxy
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(each) for each in bind(proxy.host, proxy.port, proxy.workers)]
            file = os.environ.get(WORKERS_FILE)

            async def supervise() -> int:
                return await Supervisor(settings, listeners, Path(file) if file else None).run()

            return asyncio.run(supervise())
    except (config.ConfigError, StartError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a process says why it will not start
        return 1


if __name__ == "__main__":
    sys.exit(main())
