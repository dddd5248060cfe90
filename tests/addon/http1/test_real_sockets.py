"""A worker process between real sockets."""

import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

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
def test_an_upstream_that_violates_http_is_a_502(worker, path, expected):
    assert code(worker.ask(get(path))) == expected
    assert status(worker.ask(get("/fine"))) == 200


def test_a_response_that_breaks_off_is_visibly_incomplete(worker):
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


def test_a_tunnel_is_counted_and_aborted(worker, upstream):
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
    assert worker.local("/_zenzefi/counted")[2:4] == [0, ["token_revoked"]]


def test_a_download_that_the_client_does_not_read_is_aborted_at_once(worker, upstream):
    with worker.connect(buffer=4096) as client:
        client.sendall(get(f"/download/{200 * MIB}"))
        wait_until(lambda: worker.local("/_zenzefi/counted")[1] > 0)
        ended = len(upstream.ended)
        files = worker.files
        assert worker.local("/_zenzefi/cut") == 1
        assert wait_until(lambda: len(upstream.ended) > ended) < 1
        wait_until(lambda: worker.files <= files - 2)
        assert len(read_all(client)) < 20 * MIB


def test_an_idle_connection_is_closed_on_abort(worker):
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


def test_a_client_that_does_not_read_slows_the_upstream(worker):
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


def test_an_upstream_that_does_not_read_slows_the_client(worker):
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


def test_a_client_that_half_closes_gets_its_response_where_that_is_allowed(upstream):
    worker = Worker(upstream.address, {**LIMITS, "half_close": True})
    with worker.connect() as client:
        client.sendall(get("/hang/1", close=False))
        client.shutdown(socket.SHUT_WR)
        assert status(read_all(client)) == 200
    assert worker.stop()[0] == 0


def test_a_lost_client_closes_its_upstream_connection(worker, upstream):
    with worker.connect() as client:
        client.sendall(get("/hang/5", close=False))
        wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 0) < 1.5


def test_server_sent_events_are_not_buffered(worker):
    with worker.connect() as client:
        client.sendall(get("/events"))
        started = time.monotonic()
        data = b""
        while b"data: 2" not in data:
            data += client.recv(65536)
        assert time.monotonic() - started < 1
        assert b"data: 5" not in data


def test_activation_and_slow_admission(worker):
    assert status(worker.ask(get("/", b"X-First: yes\r\n"))) == 200
    assert code(worker.ask(get("/", b"X-First: no\r\n"))) == "device_conflict"
    assert worker.ask(get("/_zenzefi/slow")).endswith(b'"slow"')


def test_sigterm_finishes_running_exchanges(upstream):
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


def test_bytes_that_a_closed_client_does_not_take_are_dropped(worker):
    worker.local("/_zenzefi/counted")  # The loop opens a descriptor of its own with the first connection.
    files = worker.files
    with worker.connect(buffer=4096) as client:
        client.sendall(get("/download/150000"))
        wait_until(lambda: worker.local("/_zenzefi/counted")[1] > 0)
        client.shutdown(socket.SHUT_WR)
        # The upstream connection is kept.
        wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 0 and worker.files <= files + 1)


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


def test_a_worker_without_descriptors_accepts_again_when_it_has_some(upstream):
    """EMFILE leaves the connection in the queue: accepting at once again would spin."""
    worker = Worker(upstream.address, LIMITS)
    assert status(worker.ask(get("/"))) == 200
    hard = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (worker.files + 1, hard))
    clients = [worker.connect() for _ in range(4)]
    time.sleep(0.2)
    spent = worker.cpu_seconds
    time.sleep(0.5)
    assert worker.cpu_seconds - spent < 0.3
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
    for client in clients:
        client.sendall(get("/"))
        assert status(read_all(client)) == 200
        client.close()
    assert worker.stop()[0] == 0
