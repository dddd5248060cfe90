"""One gateway worker process (`python -m addon.worker`); several share one port (SO_REUSEPORT)."""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from addon.components import WorkerComponents
from addon.process import tls_files as tls_file_checks
from addon.process.control_socket import ControlSocket, inherited_listeners
from addon.process.layer_settings import build_tls, tls_files
from addon.process.listening_sockets import listening_socket, raise_file_limit
from addon.process.server import Gateway
from models.config import settings as config
from models.config.settings import Settings

logger = logging.getLogger(__name__)

# How long after its drain a worker whose supervisor was killed may still run.
ORPHAN_MARGIN_SECONDS = 15.0
# How often the TLS files are checked for changes.
POLL_INTERVAL_SECONDS = 2.0


class Worker:
    """The worker's components behind a listening socket, from the first connection to the end of the drain."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._components = WorkerComponents(settings)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain, write the last counts and return."""
        with tempfile.TemporaryDirectory(prefix="zenzefi-worker-") as files:
            await self._run(Path(files))

    async def _run(self, files: Path) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGUSR1, self._components.reopen_log)
        gateway = self._gateway(files)
        control, drain_seconds = ControlSocket(), self._settings.proxy.drain_seconds
        self._components.start()
        await gateway.start()
        control.watch(lambda: loop.call_soon_threadsafe(self._stopping.set), drain_seconds + ORPHAN_MARGIN_SECONDS)
        tasks = [loop.create_task(self._report_ready(control)), loop.create_task(self._watch_tls_files(gateway))]
        try:
            await self._stopping.wait()
            self._components.start_draining()
            if not await gateway.drain(drain_seconds):
                logger.warning("the drain timed out; the remaining requests were aborted")
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await gateway.stop()
            await self._components.stop()

    async def _report_ready(self, control: ControlSocket) -> None:
        """Report to the supervisor when this worker can admit requests: until then it must not replace another one."""
        while not self._components.can_decide:  # noqa: ASYNC110 - the cache lease is a time and sends no event
            await asyncio.sleep(0.02)
        # Objects that exist now stay; scanning them took the garbage collector 0.1 s every few thousand connections.
        gc.collect()
        gc.freeze()
        control.report_ready()

    async def _watch_tls_files(self, gateway: Gateway) -> None:
        """Reload certificates when their files change; a file that cannot be read leaves the old one in use."""
        seen = self._tls_file_states()
        while seen:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            now = self._tls_file_states()
            if now != seen:
                try:
                    gateway.reload_tls()
                except Exception:
                    logger.exception("the new TLS files cannot be used; the old ones stay in use")
                else:
                    logger.info("the TLS files were reloaded")
                seen = now

    def _tls_file_states(self) -> list[tuple[int, int]]:
        state = []
        for path in tls_files(self._settings):
            try:
                found = path.stat()
            except OSError:
                state.append((0, 0))
            else:
                state.append((found.st_mtime_ns, found.st_ino))
        return state

    def _stop(self, number: int) -> None:
        """Begin to drain; a second signal ends the process at once."""
        if self._stopping.is_set():
            sys.exit(128 + number)
        self._stopping.set()

    def _gateway(self, files: Path) -> Gateway:
        proxy = self._settings.proxy
        mine, *others = inherited_listeners() or [listening_socket(proxy.host, proxy.port)]
        return Gateway(
            self._components.worker_context,
            mine,
            sibling_listeners=others,
            tls=build_tls(self._settings, files),
            proxy_protocol=proxy.proxy_protocol,
            observers=proxy.observers,
        )


def main() -> int:
    """Run one worker; an error in the settings is printed as one line to standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    raise_file_limit()

    async def serve() -> None:
        settings = config.load_settings()
        tls_file_checks.check_tls_files(settings)
        await Worker(settings).run()

    try:
        uvloop.run(serve())
    except config.ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a process says why it will not start
        return 1
    except OSError as error:
        print(f"The proxy cannot listen: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
