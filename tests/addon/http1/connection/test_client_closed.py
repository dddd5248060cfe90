"""A client that closes its connection cancels its request: the upstream connection is closed at once.

This is what nginx (`proxy_ignore_client_abort off`, its default) and HAProxy (`option abortonclose`) do with a FIN.
"""

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from addon.http1.decisions import Admit, Defer
from addon.http1.limits import Limits
from tests.addon.http1.connection.test_deadlines_and_aborts import SWITCH, UPGRADE
from tests.addon.http1.playbook import GET, OK, Playbook, post
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
from tests.addon.http1.replies import status

PATIENT = {**LIMITS, "first_byte_seconds": 30.0, "body_idle_seconds": 30.0, "response_idle_seconds": 30.0}


@pytest.mark.parametrize("stage", ["deciding", "connecting", "first use", "waiting", "replying", "uploading"])
def test_a_client_that_closes_cancels_its_request_at_every_stage(stage):
    play = Playbook(connects=stage != "connecting")
    if stage == "deciding":
        play.policy.decide = lambda _: Defer()
    if stage == "first use":
        play.policy.decide = lambda _: Admit(play.upstream, "t1", "u1", needs_activation=True)
    play.send(post(b"12345")[:-1] if stage == "uploading" else GET)
    if stage == "replying":
        play.reply(OK[:-1])
    play.hang_up()
    assert play.closed
    assert not any(server.connected for server in play.servers)
    assert play.exchange.code == "client_closed"
    assert play.policy.opened == [exchange for exchange in play.policy.closed if exchange.admission is not None]


def test_bytes_transferred_before_the_client_closed_are_counted():
    play = Playbook().send(post(b"12345")).reply(OK[:-1]).hang_up()
    assert (play.exchange.bytes_in, play.exchange.bytes_out, play.exchange.status) == (5, 1, 200)
    assert (play.policy.bytes_in, play.policy.bytes_out) == (5, 1)


def test_requests_pipelined_behind_the_one_under_way_are_not_sent():
    play = Playbook().send(GET + GET).hang_up()
    assert play.closed
    assert play.upstreams[0].count(b"GET ") == 1


def test_an_error_response_is_still_sent_to_a_client_that_closes_after_its_request():
    play = Playbook().send(b"nonsense\r\n\r\n").hang_up()
    assert status(play.received) == 400
    assert play.closed


def test_a_client_that_closes_ends_its_tunnel():
    play = Playbook().send(UPGRADE).reply(SWITCH).send(b"bye").hang_up()
    assert play.upstreams[0].endswith(b"bye")
    assert play.closed
    assert not play.server.connected
    assert (play.exchange.status, play.exchange.code, play.exchange.bytes_in) == (101, "", 3)


def test_a_fin_behind_unread_bytes_cancels_the_request():
    play = Playbook(limits=Limits(held_bytes=10)).send(GET).send(b"x" * 11)
    assert play.sockets.paused
    play.client_closed()
    assert play.closed
    assert not play.server.connected
    assert play.exchange.code == "client_closed"


def test_a_fin_without_a_request_under_way_is_ignored():
    play = Playbook().send(GET).reply(OK).client_closed()
    assert not play.closed


def test_a_fin_behind_unread_bytes_gives_a_tunnel_a_bounded_time_to_pass_them_on():
    play = Playbook().send(UPGRADE).reply(SWITCH).client_closed()
    assert not play.closed
    play.wait(20).client_closed().wait(20)
    assert play.closed


@pytest.mark.parametrize("is_lost", [True, False])
def test_where_half_closing_is_allowed_only_a_lost_client_is_closed(is_lost):
    play = Playbook(limits=Limits(half_close=True)).send(GET).client_closed(is_lost=is_lost)
    assert play.closed is is_lost


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream(serve_everything)


@pytest.fixture
def worker(upstream: Upstream) -> Iterator[Worker]:
    worker = Worker(upstream.address, PATIENT)
    yield worker
    _, errors = worker.stop()
    assert b"Traceback" not in errors, errors.decode()


def begun(worker: Worker) -> None:
    wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 1)


def freed_within(worker: Worker, seconds: float) -> bool:
    started = time.monotonic()
    wait_until(lambda: worker.local("/_zenzefi/counted")[2] == 0)
    return time.monotonic() - started < seconds


def test_a_hanging_request_ends_as_its_client_closes(worker):
    with worker.connect() as client:
        client.sendall(get("/hang/25", close=False))
        begun(worker)
    assert freed_within(worker, 0.5)
    assert worker.local("/_zenzefi/counted")[3] == ["client_closed"]


def test_the_upstream_connection_is_closed_at_once():
    seen: list[float] = []

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        assert connection.recv(65536) == b""
        seen.append(time.monotonic())

    upstream = Upstream(serve)
    worker = Worker(upstream.address, PATIENT)
    with worker.connect() as client:
        client.sendall(get("/", close=False))
        begun(worker)
        left = time.monotonic()
    wait_until(lambda: seen)
    assert seen[0] - left < 0.5
    worker.stop()


def test_a_client_that_has_sent_far_ahead_is_detected_as_closed(worker):
    with worker.connect() as client:
        client.sendall(get("/hang/25", close=False))
        begun(worker)
        # More than is held, and less than the socket takes besides: the FIN must arrive.
        client.sendall(b"x" * 120_000)
        time.sleep(0.2)
    assert freed_within(worker, 1.5)


def test_a_client_that_resets_a_stalled_upload_is_detected_as_closed(worker):
    with worker.connect() as client:
        client.sendall(upload("/never-reads", 50 * MIB))
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            client.sendall(b"x" * 50 * MIB)
        # An orderly end would stand behind bytes that our own full socket keeps away.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert freed_within(worker, 1.5)


def test_a_stalled_tunnel_delivers_bytes_sent_before_the_fin(worker):
    with worker.connect() as client:
        handshake = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\n"
        client.sendall(get("/echo", handshake, close=False))
        assert status(client.recv(65536)) == 101
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        read_all(client)
    assert freed_within(worker, 0.5)
    assert worker.local("/_zenzefi/counted")[0] == 10
