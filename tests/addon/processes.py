"""Real processes for tests: a sample upstream and proxy workers, all on free ports, all stopped at the end."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from models.config.settings import Settings
from tests.conftest import SECRETS

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Reply:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass
class Proxy:
    """One or more workers on one port."""

    port: int
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start one more worker and return when it listens too, and the port answers as ready."""
        worker = subprocess.Popen(
            [sys.executable, "-m", "addon.worker"], cwd=ROOT, env=self.environment, stdout=output, stderr=output
        )
        self.workers.append(worker)
        deadline = time.monotonic() + 60  # a busy machine may take long to start a process
        while time.monotonic() < deadline:
            try:
                running = sum(worker.poll() is None for worker in self.workers)
                if listeners(self.port) >= running and self.get("/_zenzefi/ready").status == 200:
                    return worker
            except OSError:
                pass
            assert worker.poll() is None, "the worker ended"
            time.sleep(0.05)
        raise AssertionError("the worker never became ready")

    def get(self, path: str, secret: str | None = None, **headers: str) -> Reply:
        return self.request("GET", path, secret, headers=headers)

    def request(
        self, method: str, path: str, secret: str | None = None, *, body: bytes | None = None, headers: dict[str, str]
    ) -> Reply:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret is not None:
            sent["X-Access-Token"] = secret
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """Open a raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def beside(self, **settings: str) -> "Proxy":
        """One with a port and settings of its own on the same database, not yet started."""
        port = free_port()
        changed = {"ZENZEFI_PROXY__PORT": str(port), **{f"ZENZEFI_{name}": value for name, value in settings.items()}}
        return Proxy(port, {**self.environment, **changed})

    def keep_one(self) -> None:
        """Stop the workers that a test added."""
        more = Proxy(self.port, self.environment, self.workers[1:])
        del self.workers[1:]
        more.stop()

    def stop(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                worker.wait(timeout=15)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def listeners(port: int) -> int:
    """Return the number of sockets that listen on a port: each worker has its own."""
    return _sockets(port, "0A")


def connections(port: int) -> int:
    """Return the number of established connections to a port."""
    return _sockets(port, "01")


def _sockets(port: int, state: str) -> int:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(fields[1].endswith(f":{port:04X}") and fields[3] == state for fields in map(str.split, lines))


def proxy_environment(settings: Settings, redis_url: str, upstream: str, port: int) -> dict[str, str]:
    """The environment of a worker on the tests' database."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        **{name: value for name, value in os.environ.items() if name.startswith("COV")},
        **SECRETS,
        "DATABASE_URL": settings.database.url,
        "REDIS_URL": redis_url,
        "ZENZEFI_UPSTREAM__URL": upstream,
        "ZENZEFI_PROXY__PORT": str(port),
        "ZENZEFI_PROXY__DRAIN_SECONDS": "5",
    }


def start_upstream() -> tuple[subprocess.Popen[bytes], str]:
    """Start the sample upstream and return it with its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.servers.sample_upstream", "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"http://127.0.0.1:{port}"
        time.sleep(0.02)
    raise AssertionError("the sample upstream never listened")
