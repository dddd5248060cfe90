"""TLS to the client and to the upstream."""

import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.addon.http1.processes import (
    LIMITS,
    MIB,
    Upstream,
    Worker,
    get,
    read_all,
    serve_everything,
    upload,
    wait_until,
)
from tests.addon.http1.replies import code, status
from tests.certificates import issue


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tls")
    return {
        "folder": folder,
        "client": issue(folder, "client", "proxy.example"),
        "upstream": issue(folder, "upstream", "upstream.example"),
        "other": issue(folder, "other", "other.example"),
    }


@pytest.fixture(scope="module")
def upstream(certificates: dict[str, Path]) -> Upstream:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates["upstream"])
    return Upstream(serve_everything, context)


def start(certificates: dict[str, Path], address: tuple[str, int], **changes: str) -> Worker:
    tls = {
        "confdir": str(certificates["folder"] / "conf"),
        "certificate": str(certificates["client"]),
        "ca": str(certificates["upstream"]),
        "sni": "upstream.example",
    }
    return Worker(address, LIMITS, tls={**tls, **changes})


@pytest.fixture
def worker(certificates: dict[str, Path], upstream: Upstream) -> Iterator[Worker]:
    worker = start(certificates, upstream.address)
    yield worker
    _, errors = worker.stop()
    assert b"Traceback" not in errors, errors.decode()
    assert b"crashed" not in errors, errors.decode()


def connect(worker: Worker, certificates: dict[str, Path], *, strict: bool = False) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificates["client"]))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context.wrap_socket(worker.connect(), server_hostname="proxy.example", suppress_ragged_eofs=not strict)


def test_tls_on_both_sides(worker, certificates):
    with connect(worker, certificates) as client:
        assert client.selected_alpn_protocol() == "http/1.1"
        for _ in range(3):
            client.sendall(get("/a", close=False))
            reply = client.recv(65536)
            assert status(reply) == 200
            assert b"X-Forwarded-Proto: https" in reply
        client.sendall(upload("/b", 3 * MIB, b"Connection: close\r\n") + b"x" * 3 * MIB)
        assert status(read_all(client)) == 200
    with connect(worker, certificates) as client:
        client.sendall(get(f"/download/{5 * MIB}"))
        assert len(read_all(client)) > 5 * MIB


def test_a_refusal_over_tls(worker, certificates):
    with connect(worker, certificates) as client:
        client.sendall(upload("/", 1000, token=b""))
        assert code(client.recv(65536)) == "token_missing"


def test_an_abort_over_tls(worker, certificates):
    with connect(worker, certificates, strict=True) as client, connect(worker, certificates) as other:
        client.sendall(get("/events"))
        assert b"data: 0" in client.recv(65536) + client.recv(65536)
        other.sendall(b"GET /_zenzefi/cut HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status(other.recv(65536)) == 200
        client.settimeout(2)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            while client.recv(65536):
                pass


def test_plain_text_on_the_tls_port_is_closed(worker):
    with worker.connect() as client:
        client.sendall(get("/"))
        assert b"HTTP" not in read_all(client)


def test_a_handshake_that_never_ends_is_closed(worker):
    with worker.connect() as client:
        client.sendall(b"\x16\x03\x01")
        client.settimeout(4)
        assert read_all(client) == b""


@pytest.mark.parametrize("changes", [{"ca": "other"}, {"sni": "elsewhere.example"}])
def test_an_upstream_without_a_valid_certificate_is_sent_nothing(certificates, upstream, changes):
    ca = {"ca": str(certificates["other"])} if "ca" in changes else changes
    worker = start(certificates, upstream.address, **ca)
    with connect(worker, certificates) as client:
        client.sendall(get("/"))
        assert code(read_all(client)) == "upstream_unreachable"
    worker.stop()


def test_an_upstream_that_does_not_speak_tls_or_hangs(certificates):
    def hang(connection: socket.socket) -> None:
        connection.recv(65536)
        threading_free_wait(connection)

    def threading_free_wait(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    for serve in (serve_everything, hang):
        plain = Upstream(serve)
        worker = start(certificates, plain.address)
        with connect(worker, certificates) as client:
            client.sendall(get("/"))
            assert code(read_all(client)) == "upstream_unreachable"
        worker.stop()


def test_a_renewed_certificate_is_loaded(certificates, upstream, tmp_path):
    current = tmp_path / "current.pem"
    current.write_bytes(certificates["other"].read_bytes())
    worker = start(certificates, upstream.address, certificate=str(current))
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(worker, certificates)
    current.write_bytes(certificates["client"].read_bytes())
    worker.process.send_signal(signal.SIGHUP)

    def is_renewed() -> bool:
        with suppress(ssl.SSLCertVerificationError), connect(worker, certificates):
            return True
        return False

    wait_until(is_renewed)
    with connect(worker, certificates) as client:
        client.sendall(get("/"))
        assert status(read_all(client)) == 200
    worker.stop()
