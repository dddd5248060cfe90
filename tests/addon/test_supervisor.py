"""Supervisor with real workers: restarts after a crash, rolling restarts without a lost request, orderly shutdown."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from addon import supervisor
from models import database
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from tests.addon.conftest import sell
from tests.addon.processes import ROOT, Proxy, connections, free_port, listeners, proxy_environment


@dataclass
class Supervised:
    """A supervisor, its workers and its log."""

    port: int
    secret: str
    environment: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it and wait until all workers are ready."""
        self.spawn()
        wait_until(lambda: self.workers() or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.log()

    def spawn(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "addon.supervisor"], cwd=ROOT, env=self.environment, stderr=log
            )

    def workers(self) -> list[int]:
        """Return the process ids of the ready workers."""
        with contextlib.suppress(FileNotFoundError):
            return list(json.loads((self.folder / "workers").read_text())["workers"])
        return []

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def proxy(self) -> Proxy:
        return Proxy(self.port, self.environment)

    def rolling_restarts(self) -> int:
        """Return how many rolling restarts have ended."""
        return self.log().count("all workers were replaced")

    def stop(self) -> None:
        process = getattr(self, "process", None)
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            finally:
                process.kill()


def prepare(settings: Settings, factory: Sessions, redis_url: str, upstream: str, folder: Path) -> Supervised:
    """Prepare a supervisor of two workers and a token, without starting it."""
    port = free_port()
    variables = proxy_environment(settings, redis_url, upstream, port) | {
        "ZENZEFI_PROXY__WORKERS": "2",
        "ZENZEFI_LIMITS__PROXY_PER_MINUTE": "1000000",
        supervisor.WORKERS_FILE: str(folder / "workers"),
    }
    return Supervised(port, sell(factory, settings, "buyer").secret, variables, folder)


@pytest.fixture
def prepared(
    committed: tuple[Settings, Sessions], upstream: str, environment: dict[str, str], tmp_path: Path
) -> Iterator[Supervised]:
    """A supervisor that the test starts itself."""
    supervised = prepare(*committed, environment["REDIS_URL"], upstream, tmp_path)
    yield supervised
    supervised.stop()


@pytest.fixture
def supervised(prepared: Supervised) -> Supervised:
    """A running supervisor that the test may stop."""
    prepared.start()
    return prepared


@pytest.fixture(scope="module")
def lasting(
    make_database: Callable[[], str],
    upstream: str,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Supervised]:
    """One that runs for all tests that leave it with two workers."""
    settings = config.load_settings({**environment, "DATABASE_URL": make_database()})
    engine = database.connect(settings.database)
    folder = tmp_path_factory.mktemp("lasting")
    lasting = prepare(settings, database.sessions(engine), environment["REDIS_URL"], upstream, folder)
    lasting.start()
    yield lasting
    lasting.stop()
    engine.dispose()


def wait_until(holds: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


class Visitors:
    """Clients that come again and again, some on a new connection each time, some on one that they keep."""

    def __init__(self, supervised: Supervised, *, fresh: int, kept: int) -> None:
        self.seen: Counter[str] = Counter()
        self._supervised = supervised
        self._leaving = threading.Event()
        kinds = [False] * fresh + [True] * kept
        self._threads = [threading.Thread(target=self._visit, args=(keep,)) for keep in kinds]

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._supervised.port, timeout=20)
        headers = {"X-Access-Token": self._supervised.secret} | ({} if keep else {"Connection": "close"})
        while not self._leaving.is_set():
            try:
                connection.request("GET", "/certificates/filter", headers=headers)
                answer = connection.getresponse()
                answer.read()
                self.seen[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.seen[repr(error)] += 1
                connection.close()
            time.sleep(0.01)
        connection.close()


def test_a_roll_under_load_replaces_every_worker_and_loses_no_connection(lasting: Supervised) -> None:
    before, restarts = lasting.workers(), lasting.rolling_restarts()
    with Visitors(lasting, fresh=6, kept=4) as visitors:
        for _ in range(2):
            old = set(lasting.workers())
            lasting.process.send_signal(signal.SIGHUP)
            wait_until(lambda old=old: not old & set(lasting.workers()), 60)  # type: ignore[misc]
        wait_until(lambda: lasting.rolling_restarts() == restarts + 2)
    assert set(visitors.seen) == {"200"}
    assert visitors.seen["200"] > 100
    assert len(lasting.workers()) == 2
    assert not any(runs(pid) for pid in before)


def test_a_request_that_runs_outlives_the_roll_of_its_worker(lasting: Supervised) -> None:
    answers: list[int] = []
    restarts = lasting.rolling_restarts()
    threads = [
        threading.Thread(target=lambda: answers.append(lasting.proxy().get("/slow?seconds=3", lasting.secret).status))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    lasting.process.send_signal(signal.SIGHUP)
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    wait_until(lambda: lasting.rolling_restarts() == restarts + 1)


def test_a_worker_that_dies_is_restarted_and_its_clients_are_served_meanwhile(lasting: Supervised) -> None:
    one, other = lasting.workers()
    os.kill(one, signal.SIGKILL)
    for _ in range(8):  # new connections go to both sockets, the dead one's included
        assert lasting.proxy().get("/certificates/filter", lasting.secret).status == 200
    wait_until(lambda: len(lasting.workers()) == 2 and one not in lasting.workers())
    assert other in lasting.workers()
    assert f"worker 1 (pid {one}) was killed by SIGKILL; it is restarted in 0.2 s" in lasting.log()


def test_connections_of_a_worker_that_hangs_are_accepted_by_another(lasting: Supervised) -> None:
    hanging, _ = lasting.workers()
    os.kill(hanging, signal.SIGSTOP)
    try:
        for _ in range(8):
            begun = time.monotonic()
            assert lasting.proxy().get("/certificates/filter", lasting.secret).status == 200
            assert time.monotonic() - begun < 5
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_sigterm_drains_and_leaves_nothing_behind(supervised: Supervised) -> None:
    answers: list[int] = []
    slow = threading.Thread(
        target=lambda: answers.append(supervised.proxy().get("/slow?seconds=3", supervised.secret).status)
    )
    slow.start()
    wait_until(lambda: connections(supervised.port))
    workers = supervised.workers()
    supervised.process.terminate()
    # New connections are refused at once, so that a load balancer tries another instance, not at the end of the drain.
    wait_until(lambda: not listeners(supervised.port))
    assert answers == []
    assert supervised.process.wait(timeout=20) == 0
    slow.join()
    assert answers == [200]
    assert not any(runs(pid) for pid in workers)
    assert supervised.workers() == []


def test_a_second_signal_does_not_wait(supervised: Supervised) -> None:
    with supervised.proxy().connect() as waiting:
        waiting.sendall(
            f"GET /slow?seconds=30 HTTP/1.1\r\nHost: x\r\nX-Access-Token: {supervised.secret}\r\n\r\n".encode()
        )
        time.sleep(0.4)
        workers = supervised.workers()
        begun = time.monotonic()
        supervised.process.terminate()
        # Two signals that wait at the same time are one.
        wait_until(lambda: not listeners(supervised.port))
        supervised.process.terminate()
        assert supervised.process.wait(timeout=20) == 0
    assert time.monotonic() - begun < 3
    assert not any(runs(pid) for pid in workers)


def test_a_killed_supervisor_leaves_no_worker_and_no_port_behind(supervised: Supervised) -> None:
    workers = supervised.workers()
    supervised.process.kill()
    supervised.process.wait()
    wait_until(lambda: not any(runs(pid) for pid in workers))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", supervised.port))


def test_wrong_settings_are_not_rolled_out(prepared: Supervised, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text((ROOT / "config.toml").read_text())
    prepared.environment["ZENZEFI_CONFIG"] = str(file)
    prepared.start()
    before = prepared.workers()
    file.write_text("[proxy]\nport = 'no port'\n")
    prepared.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "no rolling restart, because the settings are wrong" in prepared.log())
    assert prepared.workers() == before
    assert prepared.secret not in prepared.log()


def test_a_port_in_use_is_one_line_on_standard_error_even_if_it_can_be_shared(prepared: Supervised) -> None:
    for share in (False, True):
        with socket.socket() as other:
            if share:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            done = subprocess.run(
                [sys.executable, "-m", "addon.supervisor"],
                cwd=ROOT,
                env=prepared.environment | {"ZENZEFI_PROXY__PORT": str(port)},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == f"The proxy cannot listen on 127.0.0.1 port {port}: Address already in use.\n"


@pytest.mark.parametrize("key", ["proxy.tls_certificate", "upstream.client_certificate", "upstream.ca_file"])
@pytest.mark.parametrize("module", ["addon.supervisor", "addon.worker"])
def test_an_unusable_tls_file_is_one_line_on_standard_error_with_its_key(
    prepared: Supervised, tmp_path: Path, key: str, module: str
) -> None:
    (tmp_path / "empty.pem").touch()
    for name, reason in (("empty.pem", "PEM"), ("missing.pem", "No such file or directory")):
        file = tmp_path / name
        variable = f"ZENZEFI_{key.replace('.', '__').upper()}"
        done = subprocess.run(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=prepared.environment | {variable: str(file)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith(f"{key}: {file} cannot be used (")
        assert reason in done.stderr or key == "upstream.ca_file"
        assert done.stderr.count("\n") == 1


def test_a_worker_that_never_becomes_ready_ends_the_supervisor_at_once(prepared: Supervised) -> None:
    prepared.environment["ZENZEFI_UPSTREAM__URL"] = ""
    prepared.spawn()
    assert prepared.process.wait(timeout=30) == 1
    assert "upstream.url: is required" in prepared.log()
    assert "ended with exit code 1 before it was ready" in prepared.log()


def test_a_signal_to_reopen_the_logs_ends_no_process(lasting: Supervised) -> None:
    before = lasting.workers()
    os.kill(lasting.process.pid, signal.SIGUSR1)
    time.sleep(0.5)
    assert lasting.process.poll() is None
    assert lasting.workers() == before
    assert all(runs(pid) for pid in before)
    assert lasting.proxy().get("/", lasting.secret).status == 200
