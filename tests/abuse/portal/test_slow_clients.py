"""Half-open, slow and silent clients at the portal, in every way of running it.

docs/spec/invariants.md#35-half-open-clients-everywhere

`./zenzefi up`, a container and a pod run the same command, the first portal here; Compose puts nginx in front of it.
"""

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.dev.nginx_edge import Edge
from tests.abuse.portal.servers import HOST, Running, production
from tests.addon.processes import free_port, listeners
from tests.ops.conftest import wait_until

CROWD = 20  # of each kind; the portal has eight threads
KINDS = {
    "silent": b"",
    "half a head": b"GET /health HTTP/1.1\r\nHost: %b\r\n",
    "half a body": b"POST /login HTTP/1.1\r\nHost: %b\r\nContent-Length: 100\r\n\r\nemail=",
    "half a chunk": b"POST /api/v1/auth/login HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "no reader": b"GET /docs HTTP/1.1\r\nHost: %b\r\n\r\n" * 3,
    "no end": b"GET /health HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n",
}


@pytest.fixture(scope="module")
def portal(
    make_database: Callable[[], str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    variables = {**environment, "DATABASE_URL": make_database()}
    with production(variables, tmp_path_factory.mktemp("portal") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def nginx(portal: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """nginx as in Compose, in front of the portal; yields its TLS port."""
    port = free_port()
    edge = Edge(
        tmp_path_factory.mktemp("edge"),
        [f"127.0.0.1:{portal.port}"],
        [f"127.0.0.1:{free_port()}"],
        plain=f"127.0.0.1:{free_port()}",
        tls=f"127.0.0.1:{port}",
        portal_host=HOST,
    )
    process = subprocess.Popen(edge.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listeners(port))
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def connect(port: int, *, tls: bool) -> socket.socket:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(10)
    raw.connect(("127.0.0.1", port))
    if not tls:
        return raw
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(raw, server_hostname=HOST)


def health(port: int, *, tls: bool) -> float:
    """Request the portal's health report; returns the duration."""
    started = time.monotonic()
    with connect(port, tls=tls) as client:
        client.sendall(f"GET /health HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        reply = b""
        while data := client.recv(65536):
            reply += data
    assert reply.startswith(b"HTTP/1.1 200 "), reply
    return time.monotonic() - started


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["directly", "behind nginx"])
def test_35_many_slow_clients_do_not_block_the_portal(
    portal: Running, request: pytest.FixtureRequest, way: str, kind: str
) -> None:
    tls = way == "behind nginx"
    port: int = request.getfixturevalue("nginx") if tls else portal.port
    first = KINDS[kind].replace(b"%b", HOST.encode())
    with contextlib.ExitStack() as stack:
        for _ in range(CROWD):
            stack.enter_context(connect(port, tls=tls)).sendall(first)
        time.sleep(0.3)
        assert max(health(port, tls=tls) for _ in range(5)) < 2


def test_35_all_kinds_of_slow_clients_together_do_not_block_the_portal(portal: Running) -> None:
    with contextlib.ExitStack() as stack:
        for first in KINDS.values():
            for _ in range(CROWD):
                client = stack.enter_context(connect(portal.port, tls=False))
                client.sendall(first.replace(b"%b", HOST.encode()))
        time.sleep(0.5)
        assert max(health(portal.port, tls=False) for _ in range(10)) < 2
    assert "Traceback" not in Path(portal.log).read_text()
