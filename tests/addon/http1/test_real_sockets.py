"""The worker as a process of its own, between real sockets."""

import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.addon.http1.test_exchanges import code, status

ROOT = Path(__file__).parents[3]
TOKEN = b"X-Access-Token: good\r\n"
MIB = 1024 * 1024


class Upstream:
    """A raw server: each connection is handed to `serve` in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.serve = serve
        self.context = context
        self.accepted = 0
        self.ended: list[float] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        return self.listener.getsockname()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.accepted += 1
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.serve(connection)
        self.ended.append(time.monotonic())
        connection.close()


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("closed")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def serve_everything(connection: socket.socket) -> None:
    """Understands a few addresses, one request after the other."""
    while True:
        head, rest = read_head(connection)
        path = head.split()[1]
        match = re.search(rb"Content-Length: (\d+)", head)
        left = (int(match[1]) if match else 0) - len(rest)
        size = int(path.rpartition(b"/")[2]) if path[-1:].isdigit() else 0
        if path.startswith(b"/download/"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            block = b"x" * MIB
            while size:
                size -= connection.send(block[:size])
            continue
        if path.startswith(b"/hang"):
            time.sleep(size or 60)
        if path == b"/never-reads":
            time.sleep(60)
        if path == b"/echo":
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)
            return
        if path == b"/events":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            for number in range(100):
                connection.sendall(b"data: %d\n\n" % number)
                time.sleep(0.2)
            return
        if path == b"/garbage":
            connection.sendall(b"\x00\x01\x02 nonsense\r\n\r\n" * 10)
            return
        if path == b"/close":
            return
        if path == b"/half":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return
        if b"Expect: 100-continue" in head:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while left > 0:
            data = connection.recv(min(left, MIB))
            if not data:
                return
            left -= len(data)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


class Worker:
    """The process under test."""

    def __init__(self, upstream: tuple[str, int], limits: dict[str, float], **more: object) -> None:
        settings = json.dumps({"upstream": upstream, "limits": limits, **more})
        command = [sys.executable, "-m", "tests.addon.http1.worker", settings]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        self.port = int(line)

    def connect(self, *, buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        return client

    def ask(self, request: bytes) -> bytes:
        """Send one request, return all that comes until the connection ends."""
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)

    def local(self, path: str) -> list[object]:
        reply = self.ask(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
        return json.loads(reply.partition(b"\r\n\r\n")[2])

    @property
    def memory(self) -> int:
        """Resident memory in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    @property
    def peak(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> tuple[int, bytes]:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            _, errors = self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, errors = self.process.communicate()
        return self.process.returncode, errors


def wait_until(holds: Callable[[], object], seconds: float = 10) -> float:
    """Wait for a condition; return how long it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, "it never came true"
        time.sleep(0.01)
    return time.monotonic() - started


def read_all(client: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionResetError):
        while more := client.recv(65536):
            data += more
    return data


LIMITS = {
    "head_seconds": 1.5,
    "body_idle_seconds": 1.5,
    "connect_seconds": 1.0,
    "tls_seconds": 1.0,
    "first_byte_seconds": 2.0,
    "response_idle_seconds": 3.0,
    "linger_seconds": 0.5,
    "flush_seconds": 0.5,
    "keep_alive_seconds": 3.0,
}


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream(serve_everything)


@pytest.fixture
def worker(upstream: Upstream) -> Iterator[Worker]:
    worker = Worker(upstream.address, LIMITS)
    yield worker
    _, errors = worker.stop()
    assert b"Traceback" not in errors, errors.decode()
    assert b"crashed" not in errors, errors.decode()


def get(path: str, extra: bytes = b"", *, close: bool = True) -> bytes:
    ending = b"Connection: close\r\n" if close else b""
    return b"GET %b HTTP/1.1\r\nHost: a\r\n%b%b%b\r\n" % (path.encode(), TOKEN, extra, ending)


def upload(path: str, size: int, extra: bytes = b"", token: bytes = TOKEN) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b%bContent-Length: %d\r\n\r\n" % (
        path.encode(),
        token,
        extra,
        size,
    )


def test_a_refused_upload_of_5_gb_is_answered_at_once(worker, upstream):
    before, accepted = worker.memory, upstream.accepted
    with worker.connect() as client:
        started = time.monotonic()
        client.sendall(upload("/", 5_000_000_000, token=b"") + b"x" * 100_000)
        reply = client.recv(65536)
        assert time.monotonic() - started < 2
        assert code(reply) == "token_missing"
        sent = 0
        with pytest.raises(OSError):
            while sent < 500 * MIB:
                sent += client.send(b"x" * MIB)
        assert sent < 50 * MIB
    assert upstream.accepted == accepted
    assert worker.memory - before < 8 * MIB


def test_no_continue_before_admission_and_one_after(worker):
    reply = worker.ask(upload("/", 10, b"Expect: 100-continue\r\n", token=b""))
    assert reply.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in reply
    with worker.connect() as client:
        client.sendall(upload("/", 10, b"Expect: 100-continue\r\nConnection: close\r\n"))
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"0123456789")
        assert status(read_all(client)) == 200


def test_a_slow_upstream_is_a_504_in_time(worker):
    started = time.monotonic()
    reply = worker.ask(get("/hang"))
    assert code(reply) == "upstream_timeout"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("path", "expected"), [("/garbage", "upstream_invalid"), ("/close", "upstream_closed")])
def test_an_upstream_that_breaks_the_rules_is_a_502(worker, path, expected):
    assert code(worker.ask(get(path))) == expected
    assert status(worker.ask(get("/fine"))) == 200


def test_a_reply_that_breaks_off_is_visibly_incomplete(worker):
    reply = worker.ask(get("/half"))
    assert b"Content-Length: 100" in reply
    assert reply.endswith(b"half")


def test_an_upstream_that_refuses_and_one_that_hangs(worker):
    closed = socket.create_server(("127.0.0.1", 0))
    address = closed.getsockname()
    closed.close()
    for hang in (False, True):
        crowd = []
        if hang:
            full = socket.socket()
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                with suppress(BlockingIOError):
                    filler.connect(address)
                crowd.append(filler)
        other = Worker(address, LIMITS)
        started = time.monotonic()
        reply = other.ask(get("/"))
        assert code(reply) == "upstream_unreachable"
        assert b"127.0.0.1" not in reply
        assert time.monotonic() - started < 4
        assert other.stop()[0] == 0


def test_a_tunnel_is_counted_and_cut(worker, upstream):
    with worker.connect() as client:
        handshake = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\n"
        client.sendall(get("/echo", handshake, close=False))
        assert status(client.recv(65536)) == 101
        for size in (10, 50_000):
            client.sendall(b"x" * size)
            got = 0
            while got < size:
                got += len(client.recv(65536))
        assert worker.local("/_zenzefi/counted")[:3] == [50_010, 50_010, 1]
        started = time.monotonic()
        assert worker.local("/_zenzefi/cut") == 1
        assert read_all(client) == b""
        assert time.monotonic() - started < 1
    assert worker.local("/_zenzefi/counted")[2:] == [0, ["token_revoked"]]


def test_a_download_that_nobody_reads_is_cut_at_once(worker, upstream):
    with worker.connect(buffer=4096) as client:
        client.sendall(get(f"/download/{200 * MIB}"))
        wait_until(lambda: worker.local("/_zenzefi/counted")[1] > 0)
        ended = len(upstream.ended)
        files = worker.files
        assert worker.local("/_zenzefi/cut") == 1
        assert wait_until(lambda: len(upstream.ended) > ended) < 1
        wait_until(lambda: worker.files <= files - 2)
        assert len(read_all(client)) < 20 * MIB


def test_an_idle_connection_is_cut(worker):
    with worker.connect() as client:
        client.sendall(get("/", close=False))
        assert status(client.recv(65536)) == 200
        assert worker.local("/_zenzefi/cut") == 1
        assert client.recv(100) == b""


def test_200_mb_up_and_down_with_flat_memory(worker):
    worker.ask(get("/"))
    before = worker.memory
    size = 200 * MIB
    with worker.connect() as client:
        client.sendall(get(f"/download/{size}"))
        got = 0
        while data := client.recv(MIB):
            got += len(data)
    assert got > size
    with worker.connect() as client:
        client.sendall(upload("/", size, b"Connection: close\r\n"))
        block, sent = b"x" * MIB, 0
        while sent < size:
            client.sendall(block)
            sent += MIB
        assert status(read_all(client)) == 200
    assert worker.peak - before < 16 * MIB
    counted_in, counted_out = worker.local("/_zenzefi/counted")[:2]
    assert counted_in == size
    assert counted_out >= size


def test_a_client_that_does_not_read_holds_the_upstream_back(worker):
    worker.ask(get("/"))
    before = worker.memory
    with worker.connect(buffer=4096) as client:
        client.sendall(get(f"/download/{200 * MIB}"))
        seen = [-1, 0]
        while seen[-1] != seen[-2]:
            assert seen[-1] < 20 * MIB
            time.sleep(0.7)
            seen.append(worker.local("/_zenzefi/counted")[1])
        assert worker.memory - before < 4 * MIB


def test_an_upstream_that_does_not_read_holds_the_client_back(worker):
    before = worker.memory
    with worker.connect() as client:
        client.sendall(upload("/never-reads", 200 * MIB))
        client.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                sent += client.send(b"x" * 65536)
        assert sent < 30 * MIB
        assert worker.memory - before < 4 * MIB
        client.settimeout(5)
        assert code(read_all(client)) == "upstream_timeout"


def test_a_client_that_sends_ahead_is_not_read(worker):
    before = worker.memory
    with worker.connect() as client:
        client.sendall(get("/hang/1", close=False))
        client.settimeout(0.3)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 100 * MIB:
                sent += client.send(get("/", close=False) * 500)
        assert worker.memory - before < 4 * MIB
        client.settimeout(10)
        assert status(client.recv(65536)) == 200


def test_a_slow_head_is_a_408_and_silence_is_closed(worker):
    with worker.connect() as client, worker.connect() as silent:
        started = time.monotonic()
        client.sendall(b"GET / HT")
        assert code(read_all(client)) == "request_timeout"
        assert read_all(silent) == b""
        assert time.monotonic() - started < 4


def test_a_client_that_half_closes_gets_its_reply(worker):
    with worker.connect() as client:
        client.sendall(get("/hang/1", close=False))
        client.shutdown(socket.SHUT_WR)
        assert status(read_all(client)) == 200


def test_a_client_that_vanishes_frees_the_upstream(worker, upstream):
    with worker.connect() as client:
        client.sendall(get("/hang/5", close=False))
        wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 0) < 1.5


def test_events_flow_as_they_come(worker):
    with worker.connect() as client:
        client.sendall(get("/events"))
        started = time.monotonic()
        data = b""
        while b"data: 2" not in data:
            data += client.recv(65536)
        assert time.monotonic() - started < 1
        assert b"data: 5" not in data


def test_first_use_and_slow_admission(worker):
    assert status(worker.ask(get("/", b"X-First: yes\r\n"))) == 200
    assert code(worker.ask(get("/", b"X-First: no\r\n"))) == "device_conflict"
    assert worker.ask(get("/_zenzefi/slow")).endswith(b'"slow"')


def test_sigterm_finishes_what_runs(upstream):
    worker = Worker(upstream.address, LIMITS)
    with worker.connect() as idle, worker.connect() as client:
        idle.sendall(get("/", close=False))
        assert status(idle.recv(65536)) == 200
        client.sendall(get("/hang/1", close=False))
        wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 1)
        worker.process.send_signal(signal.SIGTERM)
        assert idle.recv(100) == b""
        with pytest.raises(OSError):
            time.sleep(0.1)
            worker.connect()
        reply = read_all(client)
        assert status(reply) == 200
        assert b"Connection: close" in reply
    assert worker.process.wait(10) == 0
    worker.stop()


def test_many_idle_connections_cost_little(worker):
    worker.ask(get("/"))
    before = worker.memory
    clients = [worker.connect() for _ in range(300)]
    for client in clients:
        client.sendall(b"GET /_zenzefi/counted HTTP/1.1\r\nHost: a\r\n\r\n")
    for client in clients:
        assert status(client.recv(65536)) == 200
    each = (worker.memory - before) / len(clients)
    for client in clients:
        client.close()
    assert each < 40 * 1024


def test_what_a_closed_client_does_not_take_is_given_up(worker):
    files = worker.files
    with worker.connect(buffer=4096) as client:
        client.sendall(get("/download/150000"))
        wait_until(lambda: worker.local("/_zenzefi/counted")[1] > 0)
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 0 and worker.files <= files)


def test_connections_in_the_queue_are_served_when_the_listener_closes(upstream):
    worker = Worker(upstream.address, LIMITS)
    worker.process.send_signal(signal.SIGSTOP)
    clients = [worker.connect() for _ in range(20)]
    for client in clients:
        client.sendall(get("/"))
    worker.process.send_signal(signal.SIGTERM)
    worker.process.send_signal(signal.SIGCONT)
    assert [status(read_all(client)) for client in clients] == [200] * 20
    assert worker.process.wait(10) == 0
    worker.stop()
