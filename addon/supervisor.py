"""Supervisor of the gateway's worker processes: `python -m addon.supervisor`.

1. It owns the listening sockets, one per worker, on one port (SO_REUSEPORT). They stay open as long as it runs, so no
   connection is lost with a worker: connections in a socket's queue are accepted by the next one (docs/adr/0004).
2. A worker that dies is restarted, with increasing back-off when it dies repeatedly.
3. SIGHUP is a rolling restart: in one slot after the other a replacement starts with the present settings, and the old
   worker drains when the replacement is ready. The number of workers and the address do not change.
4. SIGTERM and SIGINT drain all workers; a second signal kills them. When the supervisor itself is killed, its workers
   drain and end.
5. SIGUSR1 makes every worker reopen its access log.
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

# After the drain a worker aborts the remaining requests, writes its last counts and closes its connections.
STOP_MARGIN_SECONDS = 15.0
WORKERS_FILE = "ZENZEFI_WORKERS_FILE"


class StartError(Exception):
    """The workers cannot be started; the message is one line for standard error."""


class Supervisor:
    """Keeps a worker in every slot. Runs on the event loop only."""

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
        logger.info("supervisor %s starts %s worker(s)", os.getpid(), len(self._slots))
        work: list[Coroutine[Any, Any, Any]] = [slot.run(self._write_file) for slot in self._slots]
        work += [self._stop_requested.wait(), self._restart_on_sighup()]
        tasks: list[asyncio.Task[Any]] = [loop.create_task(coroutine) for coroutine in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            failures = [task.exception() for task in done if task.exception() is not None]
            for failure in failures:
                logger.error("the gateway stops: %s", failure)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # The workers must be the last owners: a connection made during the drain would otherwise wait in a queue
            # that no process reads any more, instead of being refused, so that nginx tries another instance.
            for listener in self._listeners:
                listener.close()
            await self._stop_workers()
            if self._file is not None:
                self._file.unlink(missing_ok=True)
        return 1 if failures else 0

    def _on_stop(self) -> None:
        (self._kill_requested if self._stop_requested.is_set() else self._stop_requested).set()

    def _reopen_logs(self) -> None:
        """Make all ready workers reopen their access logs; a starting one has no signal handler yet and would die."""
        for worker in (worker for slot in self._slots for worker in slot.processes if worker.is_ready):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGUSR1)

    async def _stop_workers(self) -> None:
        """Drain all workers at once; one that takes too long is killed, and a second signal kills all."""
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
                logger.error("no rolling restart, because the settings are wrong: %s", error)
                continue
            logger.info("rolling restart of %s worker(s)", len(self._slots))
            for slot in self._slots:
                if not await slot.replace():
                    logger.error("the rolling restart stops here; the remaining workers keep running")
                    break
            else:
                logger.info("all workers were replaced")

    def _write_file(self) -> None:
        """Write the process ids of supervisor and workers to the file, once all workers are ready."""
        ready = [slot.worker for slot in self._slots if slot.worker is not None and slot.worker.is_ready]
        if self._file is None or len(ready) < len(self._slots):
            return
        fresh = self._file.with_name(self._file.name + ".new")
        try:
            state = {"supervisor": os.getpid(), "workers": [worker.pid for worker in ready]}
            fresh.write_text(json.dumps(state), encoding="utf-8")
            fresh.replace(self._file)
        except OSError as error:  # a full disk must not stop the workers
            logger.warning("the workers file cannot be written: %s", error.strerror)


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind the sockets of all workers. Raises StartError when the port is in use.

    They do not listen yet: the first worker does when it has loaded. Until then connections are refused, so that a load
    balancer tries another machine, instead of waiting.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners: list[socket.socket] = []
    try:
        # Without SO_REUSEPORT first: with it, a port that another program shares would appear to be free.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
        for _ in range(count):
            listeners.append(listening_socket(host, port))  # noqa: PERF401 - those already open are closed below
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise StartError(f"The proxy cannot listen on {host} port {port}: {error.strerror or error}.") from None
    return listeners


def main() -> int:
    """Run until a stop signal; an error at the start is printed as one line to standard error."""
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
        print(error, file=sys.stderr)  # noqa: T201 - the reason why a process does not start
        return 1


if __name__ == "__main__":
    sys.exit(main())
