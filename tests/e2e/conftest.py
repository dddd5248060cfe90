"""The whole platform as a user starts it, nginx as the upstream, and a real browser."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
BIG_FILE_BYTES = 200 * 1024 * 1024
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Return the environment without variables that would make `up` use the servers of the test run."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "REDIS_URL"} and not name.startswith(("ZENZEFI_", "COV_"))
    }


def wait_until_listening(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


@dataclass
class Shop:
    """A running `./zenzefi up`."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    data: Path
    output: Path

    @property
    def portal(self) -> str:
        return str(self.ready["portal_url"])

    @property
    def proxy(self) -> str:
        return str(self.ready["proxy_url"])

    def worker_pids(self) -> list[int]:
        return list(self.ready["pids"]["proxy"])

    def _job_worker(self) -> int:
        """Return the process id of the job worker, which the launcher may have restarted since the start."""
        launcher = self.process.pid
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            threads = Path(f"/proc/{launcher}/task").glob("*/children")
            for child in [child for thread in threads for child in thread.read_text().split()]:
                with suppress(OSError):
                    if b"jobs.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return int(child)
            time.sleep(0.1)
        raise AssertionError("no job worker runs")

    @contextmanager
    def suspended_jobs(self) -> Iterator[None]:
        """Stop the job worker with the processes that it has forked, as on a frozen machine, and resume them."""
        worker = self._job_worker()
        os.kill(worker, signal.SIGSTOP)
        processes = [worker, *map(int, Path(f"/proc/{worker}/task/{worker}/children").read_text().split())]
        try:
            for process in processes:
                _signal(process, signal.SIGSTOP)
            yield
        finally:
            for process in reversed(processes):
                _signal(process, signal.SIGCONT)


def _signal(process: int, number: signal.Signals) -> None:
    """Send a signal to a process that may just have ended."""
    with suppress(ProcessLookupError):
        os.kill(process, number)


def start_shop(data: Path, *, upstream: str | None = None, extra: dict[str, str] | None = None) -> Shop:
    """Run `./zenzefi up` and wait until it is ready."""
    data.mkdir(parents=True, exist_ok=True)
    ready_file, output = data / "ready.json", data / "up.log"
    ready_file.unlink(missing_ok=True)
    command = [
        str(ROOT / "zenzefi"),
        "up",
        *("--data", str(data / "state")),
        *("--portal-port", str(free_port())),
        *("--proxy-port", str(free_port())),
        *("--ready-file", str(ready_file)),
        *(("--upstream", upstream) if upstream else ()),
    ]
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**clean_environment(), **(extra or {})}, stdout=log, stderr=log
        )
    deadline = time.monotonic() + START_SECONDS
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"up did not get ready:\n{output.read_text()}")
        time.sleep(0.05)
    return Shop(process, json.loads(ready_file.read_text()), data, output)


def stop_shop(shop: Shop) -> int:
    """Stop the platform as Ctrl-C does and return the exit code."""
    if shop.process.poll() is None:
        shop.process.send_signal(signal.SIGINT)
    return shop.process.wait(timeout=60)


@pytest.fixture(scope="package")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 MB of random data."""
    folder = tmp_path_factory.mktemp("files")
    # nginx's unprivileged worker must be able to walk down to it.
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    path = folder / "big.bin"
    with path.open("wb") as file:
        for _ in range(BIG_FILE_BYTES // (4 * 1024 * 1024)):
            file.write(os.urandom(4 * 1024 * 1024))
    return path


@pytest.fixture(scope="package")
def upstream(tmp_path_factory: pytest.TempPathFactory, big_file: Path) -> Iterator[str]:
    """nginx that serves the big file and forwards other requests to the sample upstream."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    if nginx is None:
        pytest.fail("nginx is needed for the end-to-end tests: apt-get install nginx")
    folder, port, sample_port = tmp_path_factory.mktemp("nginx"), free_port(), free_port()
    sample = subprocess.Popen(
        [sys.executable, "-m", "ops.servers.sample_upstream", "--host", "127.0.0.1", "--port", str(sample_port)],
        cwd=ROOT,
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 512; }}
        http {{
          access_log off; client_max_body_size 0; client_body_temp_path {folder}/body;
          proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
          uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          server {{
            listen 127.0.0.1:{port};
            location /files/ {{ alias {big_file.parent}/; }}
            location / {{ proxy_pass http://127.0.0.1:{sample_port}; proxy_http_version 1.1;
                          proxy_set_header Connection ""; proxy_pass_request_headers on; }}
          }}
        }}"""
    )
    server = subprocess.Popen([nginx, "-p", str(folder), "-c", str(configuration)])
    wait_until_listening(port)
    wait_until_listening(sample_port)
    yield f"http://127.0.0.1:{port}"
    for process in (server, sample):
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory, upstream: str) -> Iterator[Shop]:
    """One platform for all browser tests."""
    # All tests register from one address, more often than one visitor may.
    names = ("AUTH_PER_HOUR", "AUTH_PER_ADDRESS", "REGISTRATIONS_PER_HOUR")
    often = {f"ZENZEFI_LIMITS__{name}": "1000" for name in names}
    shop = start_shop(tmp_path_factory.mktemp("shop"), upstream=upstream, extra=often)
    yield shop
    stop_shop(shop)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright."""
    path = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )
    if path is None:
        pytest.fail("No Chromium was found. Debian: apt-get install chromium; elsewhere set CHROMIUM to its path.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@contextmanager
def visitor(browser: Browser, locale: str) -> Iterator[Page]:
    """Open a page in a browser profile of its own; a script error or a blocked resource fails the test."""
    context = browser.new_context(locale=locale)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    page.set_default_timeout(15_000)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An English visitor's page."""
    with visitor(browser, "en-US") as page:
        yield page
