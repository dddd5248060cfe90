"""The addon script in mitmproxy's own tools, TLS terminated by the worker, and operators' observer scripts."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.config.settings import Settings
from models.database import Sessions
from tests.addon.conftest import Owned, sell
from tests.addon.processes import ROOT, Proxy, free_port, proxy_environment
from tests.certificates import issue


@pytest.fixture
def owned(committed: tuple[Settings, Sessions]) -> Owned:
    settings, factory = committed
    return sell(factory, settings, "buyer")


@pytest.fixture
def stock(
    committed: tuple[Settings, Sessions], upstream: str, environment: dict[str, str], tmp_path: Path
) -> Iterator[Proxy]:
    """mitmdump with our entry script, in front of the sample upstream."""
    port = free_port()
    proxy = Proxy(port, proxy_environment(committed[0], environment["REDIS_URL"], upstream, port))
    tool = Path(sys.executable).with_name("mitmdump")
    command = [
        str(tool) if tool.exists() else str(shutil.which("mitmdump")),
        *("-q", "-s", "addon/entry.py", "--mode", "reverse:http://127.0.0.1:1"),
        *("--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", f"confdir={tmp_path}"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, env={**proxy.environment, "HOME": str(tmp_path)})
    deadline = time.monotonic() + 60
    while True:
        try:
            if proxy.get("/_zenzefi/ready").status == 200:
                break
        except OSError:
            assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield proxy
    process.terminate()
    process.wait(timeout=15)


def test_the_entry_script_admits_and_refuses_in_a_stock_tool(stock: Proxy, owned: Owned) -> None:
    assert stock.get("/certificates/filter").status == 401
    assert stock.get("/certificates/filter", owned.secret).status == 200


def served_certificate(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="proxy.example") as connection,
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        return connection.getpeercert(binary_form=True) or b""


def test_a_worker_terminates_tls_and_reloads_a_new_certificate(
    committed: tuple[Settings, Sessions], upstream: str, environment: dict[str, str], tmp_path: Path
) -> None:
    first, second = issue(tmp_path, "one", "proxy.example"), issue(tmp_path, "two", "proxy.example")
    used = tmp_path / "used.pem"
    shutil.copy(first, used)
    port = free_port()
    variables = proxy_environment(committed[0], environment["REDIS_URL"], upstream, port)
    worker = subprocess.Popen(
        [sys.executable, "-m", "addon.worker"],
        cwd=ROOT,
        env={**variables, "ZENZEFI_PROXY__TLS_CERTIFICATE": str(used)},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                before = served_certificate(port)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        shutil.copy(second, tmp_path / "next.pem")
        os.replace(tmp_path / "next.pem", used)
        deadline = time.monotonic() + 10
        while served_certificate(port) == before:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        worker.terminate()
        worker.wait(timeout=15)


OBSERVER = """
from pathlib import Path


def response(flow):
    flow.response.status_code = 418
    flow.request.path = "/changed"
    with Path(__file__).with_suffix(".seen").open("a") as seen:
        seen.write(f"{flow.request.method} {flow.request.path} {dict(flow.request.headers)}\\n")
"""


def test_an_operators_script_sees_redacted_flows_and_changes_nothing(
    committed: tuple[Settings, Sessions], upstream: str, environment: dict[str, str], tmp_path: Path, owned: Owned
) -> None:
    script = tmp_path / "observer.py"
    script.write_text(OBSERVER)
    port = free_port()
    variables = proxy_environment(committed[0], environment["REDIS_URL"], upstream, port)
    proxy = Proxy(port, {**variables, "ZENZEFI_PROXY__OBSERVERS": f'["{script}"]'})
    proxy.start_worker()
    try:
        deadline = time.monotonic() + 10
        # The script is loaded while the worker runs, and detected at the next sweep.
        seen = script.with_suffix(".seen")
        while not (seen.exists() and seen.read_text().endswith("\n")):
            assert proxy.get("/certificates/filter", owned.secret).status == 200
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "GET /changed" in seen.read_text()
        assert owned.secret not in seen.read_text()
    finally:
        proxy.stop()
