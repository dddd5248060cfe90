"""The pool between real sockets: TLS sessions, reloaded files, resets, back-pressure, memory."""

import signal
import socket
import ssl
import struct
from pathlib import Path

import pytest

from tests.addon.http1.connection.test_early_responses import TOO_LARGE
from tests.addon.http1.processes import (
    LIMITS,
    MIB,
    Upstream,
    Worker,
    get,
    read_head,
    serve_everything,
    upload,
    wait_until,
)
from tests.addon.http1.replies import code, status
from tests.certificates import issue


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return issue(tmp_path_factory.mktemp("tls"), "upstream", "upstream.example")


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def tls(authority: Path) -> dict[str, str]:
    return {"ca": str(authority), "sni": "upstream.example"}


def test_clients_that_connect_anew_share_one_upstream_connection(authority):
    upstream = Upstream(serve_everything, server_context(authority))
    worker = Worker(upstream.address, LIMITS, tls=tls(authority))
    for _ in range(20):
        assert status(worker.ask(get("/"))) == 200
    assert upstream.accepted == 1
    assert worker.stop()[0] == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_new_connection_resumes_the_tls_session(authority, version):
    """RFC 8446, 2.2, and RFC 5077: without it every connection costs a full handshake."""
    context = server_context(authority)
    context.maximum_version = version
    upstream = Upstream(serve_everything, context)
    worker = Worker(upstream.address, LIMITS, tls=tls(authority), pool={"max_requests": 1})
    for _ in range(5):
        assert status(worker.ask(get("/"))) == 200
    assert upstream.accepted == 5
    assert context.session_stats()["hits"] == 4
    assert worker.stop()[0] == 0


def test_a_changed_authority_ends_the_connections_that_it_vouched_for(authority, tmp_path):
    current = tmp_path / "ca.pem"
    current.write_bytes(authority.read_bytes())
    upstream = Upstream(serve_everything, server_context(authority))
    worker = Worker(upstream.address, LIMITS, tls=tls(current))
    assert status(worker.ask(get("/"))) == 200
    current.write_bytes(issue(tmp_path, "other", "other.example").read_bytes())
    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: code(worker.ask(get("/"))) == "upstream_unreachable")
    worker.stop()


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_refusal_before_a_reset_reaches_the_client(authority, is_tls):
    """RFC 9112, 9.5 and 9.6: the response is in the socket's buffer when the rest of the upload meets the reset."""

    def refuse(connection: socket.socket) -> None:
        # Otherwise the response waits for the acknowledgment of the TLS tickets, and the reset discards it.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_head(connection)
        connection.sendall(TOO_LARGE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    upstream = Upstream(refuse, server_context(authority) if is_tls else None)
    worker = Worker(upstream.address, LIMITS, **({"tls": tls(authority)} if is_tls else {}))
    for _ in range(8):
        with worker.connect() as client:
            client.sendall(upload("/", 20 * MIB))
            try:
                while True:
                    client.sendall(b"x" * 100_000)
            except OSError:
                pass
            assert status(client.recv(65536)) == 413
    assert worker.stop()[0] == 0


def test_a_slow_client_does_not_fill_the_memory_of_the_worker(authority):
    upstream = Upstream(serve_everything, server_context(authority))
    worker = Worker(upstream.address, LIMITS, tls=tls(authority))
    before = worker.memory
    with worker.connect() as client:
        client.sendall(get(f"/download/{100 * MIB}"))
        client.recv(1000)
        assert worker.memory - before < 16 * MIB
        left = 100 * MIB
        while data := client.recv(MIB):
            left -= len(data)
        assert left < MIB
    assert worker.memory - before < 24 * MIB
    assert worker.stop()[0] == 0


def test_a_slow_upstream_does_not_fill_the_memory_of_the_worker():
    upstream = Upstream(serve_everything)
    worker = Worker(upstream.address, LIMITS)
    before = worker.memory
    with worker.connect() as client:
        client.sendall(upload("/never-reads", 500 * MIB))
        client.settimeout(1)
        sent = 0
        with pytest.raises(OSError):
            while True:
                sent += client.send(b"x" * MIB)
        assert sent < 60 * MIB
        assert worker.memory - before < 16 * MIB
    worker.stop()


def test_an_upstream_that_closes_kept_connections_loses_no_request():
    """A server closes an idle connection at any time; the next request must not meet its end."""

    def serve_one(connection: socket.socket) -> None:
        head, _ = read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))

    upstream = Upstream(serve_one)
    worker = Worker(upstream.address, LIMITS)
    for _ in range(50):
        assert status(worker.ask(get("/"))) == 200
    assert worker.stop()[0] == 0
