"""Slow clients at the portal's gunicorn worker occupy no thread and delay no other client."""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.container.gunicorn_requests import Bounds, HeadTooLarge, RequestBuffer
from tests.ops.container.test_gunicorn_worker import Gunicorn

CONF = """
from ops.container.gunicorn_requests import Bounds
from ops.container.gunicorn_worker import DrainingWorker

worker_connections = 60
DrainingWorker.bounds = Bounds(head_seconds={0}, body_seconds={0}, response_seconds={0}, linger_seconds={0})
"""
PATIENT, IMPATIENT = CONF.format(60), CONF.format(1)
MANY = 40  # the worker under test has two threads
KIB = 1024


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Gunicorn]:
    yield from running(tmp_path, PATIENT)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Gunicorn]:
    yield from running(tmp_path, IMPATIENT)


def running(folder: Path, conf: str) -> Iterator[Gunicorn]:
    gunicorn = Gunicorn(folder, conf)
    yield gunicorn
    gunicorn.master.kill()
    gunicorn.master.wait()


@contextlib.contextmanager
def clients(gunicorn: Gunicorn, count: int, first: bytes, buffer: int = 0) -> Iterator[list[socket.socket]]:
    """Connect clients, each of which sends some bytes and then nothing."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            if buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            client.settimeout(10)
            client.connect(("127.0.0.1", gunicorn.port))
            client.sendall(first)
            opened.append(client)
        yield opened


def read_all(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            received += data
    return received


def exchange(gunicorn: Gunicorn, *pieces: bytes) -> bytes:
    """Send a request in pieces and return everything received until the connection is closed."""
    with clients(gunicorn, 1, pieces[0]) as [client]:
        for piece in pieces[1:]:
            time.sleep(0.05)
            client.sendall(piece)
        return read_all(client)


HALVES = {
    "no byte": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: a\r\n",
    "half a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n12345",
    "no body after 100-continue": b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    "a kept connection": b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /",
    "no end of the connection": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "a body that is too large": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n12345",
}


@pytest.mark.parametrize("name", HALVES)
def test_clients_with_half_a_request_hold_no_thread(patient: Gunicorn, name: str) -> None:
    with clients(patient, MANY, HALVES[name]):
        started = time.monotonic()
        for _ in range(3):
            assert patient.get() == 200
        assert time.monotonic() - started < 2


def test_clients_that_do_not_read_their_responses_hold_no_thread(patient: Gunicorn) -> None:
    request = b"GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\n\r\n"
    with clients(patient, 10, request, buffer=4096) as opened:
        for client in opened:
            assert select.select([client], [], [], 5)[0]
        started = time.monotonic()
        assert patient.get() == 200
        assert time.monotonic() - started < 2
        assert len(read_all_of(opened[0], 3_000_000)) > 3_000_000


def read_all_of(client: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) <= size:
        data = client.recv(65536)
        assert data
        received += data
    return received


def test_with_too_many_connections_the_oldest_idle_one_is_closed(patient: Gunicorn) -> None:
    with clients(patient, 80, b"") as opened:
        assert patient.get() == 200
        assert read_all(opened[0]) == b""
    with clients(patient, 80, b"GET / HTTP/1.1\r\n") as opened:
        assert patient.get() == 200
        assert read_all(opened[0]) == b""


@pytest.mark.parametrize(
    ("name", "answer"), [("half a head", b"408"), ("half a body", b"408"), ("half a chunk", b"408"), ("no byte", b"")]
)
def test_a_request_has_a_timeout(impatient: Gunicorn, name: str, answer: bytes) -> None:
    with clients(impatient, 1, HALVES[name]) as [client]:
        started = time.monotonic()
        assert read_all(client).removeprefix(b"HTTP/1.1 ")[:3] == answer
        assert 0.5 < time.monotonic() - started < 5


def test_a_response_that_is_not_read_is_aborted(impatient: Gunicorn) -> None:
    with clients(impatient, 1, b"GET /bytes/9000000 HTTP/1.1\r\nHost: a\r\n\r\n", buffer=4096) as [client]:
        time.sleep(4)
        assert len(read_all(client)) < 9_000_000
    assert impatient.get() == 200


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
IN_CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "size"),
    [
        ((HEAD + b"Content-Le", b"ngth: 5\r\n\r", b"\nab", b"cde"), 5),
        ((IN_CHUNKS + b"3;x=y\r\nab", b"c\r\n0\r\n\r\n"), 3),
        ((IN_CHUNKS + b"0\r\nX-T: 1\r", b"\n\r\n"), 0),
        ((b"\r\n" + HEAD + b"\r\n",), 0),
        ((HEAD + b"\r\n",), 0),
    ],
)
def test_a_request_in_pieces_is_served_as_a_whole(patient: Gunicorn, pieces: tuple[bytes, ...], size: int) -> None:
    reply = exchange(patient, *pieces)
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n"), reply
    assert b"X-Body: %d\r\n" % size in reply


def test_a_client_that_expects_100_continue_gets_it_once(patient: Gunicorn) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    with clients(patient, 1, head) as [client]:
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        reply = read_all(client)
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"X-Body: 3\r\n" in reply


def test_pipelined_requests_are_answered_in_order(patient: Gunicorn) -> None:
    first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    reply = exchange(patient, first + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert reply.count(b"HTTP/1.1 200 OK") == 2
    assert reply.index(b"X-Body: 1") < reply.index(b"X-Body: 0")


def test_a_head_without_an_end_is_rejected(patient: Gunicorn) -> None:
    reply = exchange(patient, b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)
    assert reply.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
)
def test_a_malformed_request_gets_a_response_and_closes_the_connection(patient: Gunicorn, request_: bytes) -> None:
    assert exchange(patient, request_).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 500 "))
    assert patient.get() == 200


def collect(*pieces: bytes, bounds: Bounds | None = None) -> bytes | None:
    buffer = RequestBuffer(bounds or Bounds(body_bytes=100, head_bytes=1000))
    for piece in pieces[:-1]:
        buffer.feed(piece)
        assert buffer.take() is None
    buffer.feed(pieces[-1])
    return buffer.take()


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("make", "closes"),
    [
        (lambda: collect(b"GET / HTTP/1.1\r\n", b"\r\n"), False),
        (lambda: collect(b"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n"), True),
        (lambda: collect(b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), True),
        (lambda: collect(CHUNKED, b"5\r\nhel", b"lo\r\n", b"0\r\n\r\n"), False),
        (lambda: collect(CHUNKED, b"fff\r\n"), True),
        (lambda: collect(CHUNKED, b"no size\r\n"), True),
        (lambda: collect(CHUNKED, b"1" * 101), True),
        (lambda: collect(CHUNKED, b"0\r\nX: " + b"x" * 101), True),
    ],
)
def test_pipelined_data_is_bounded_and_more_closes_the_connection(
    make: Callable[[], bytes | None], closes: bool
) -> None:
    request = make()
    assert request is not None
    assert (b"\r\nConnection: close\r\n" in request) is closes


def test_the_next_request_stays_in_the_buffer() -> None:
    buffer = RequestBuffer(Bounds())
    buffer.feed(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\n\r\n")
    assert buffer.take() == b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"
    assert buffer.take() == b"GET / HTTP/1.1\r\n\r\n"
    assert buffer.take() is None


def test_the_size_of_a_head_is_bounded() -> None:
    with pytest.raises(HeadTooLarge):
        collect(b"G" * 1001)
