"""A response that the upstream sends before it has read the whole request counts, also when it resets the connection.

RFC 9112, 9.5: a client that is still sending a request body should watch for a response; 9.6 says why a server that
closes with unread bytes in its socket causes a reset.
"""

import socket
import struct
from collections.abc import Callable

import pytest

from tests.addon.http1.playbook import GET, OK, Playbook, post
from tests.addon.http1.processes import LIMITS, MIB, Upstream, Worker, read_head, upload, wait_until
from tests.addon.http1.replies import code, status

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large"


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(_: socket.socket) -> None:
    """Closing with unread bytes is a reset as well."""


def refuses(ending: Callable[[socket.socket], None]) -> Upstream:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.recv(65536)
        connection.sendall(TOO_LARGE)
        ending(connection)

    return Upstream(serve)


@pytest.mark.parametrize("ending", [reset, close])
def test_a_refusal_reaches_a_client_that_is_still_uploading(ending):
    worker = Worker(refuses(ending).address, LIMITS)
    worker.local("/_zenzefi/counted")  # The loop opens a descriptor of its own with the first connection.
    files = worker.files
    for _ in range(8):
        with worker.connect() as client:
            client.sendall(upload("/", 20 * MIB))
            try:
                while True:
                    client.sendall(b"x" * 100_000)
            except OSError:
                pass  # The worker has answered, and takes no more of the body than a client may have under way.
            reply = client.recv(65536)
            assert status(reply) == 413, reply
            assert reply.endswith(b"too large")
    wait_until(lambda: worker.files <= files)
    assert worker.stop()[0] == 0


def lost(play: Playbook, unread: bytes) -> Playbook:
    """Let the upstream reset the connection while these bytes are in the socket's buffer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        play.server.transport.socket = ours
        theirs.sendall(unread)
        return play.upstream_hangs_up(lost=True)


def test_a_complete_response_before_a_reset_is_sent_on():
    play = lost(Playbook().send(post(b"12345")[:-1]), TOO_LARGE)
    assert play.received.startswith(b"HTTP/1.1 413 ")
    assert play.received.endswith(b"too large")
    assert play.half_closed
    assert (play.exchange.status, play.exchange.code) == (413, "")


def test_half_a_response_before_a_reset_is_a_502():
    play = lost(Playbook().send(post(b"12345")[:-1]), TOO_LARGE[:20])
    assert code(play.received) == "upstream_closed"


def test_a_body_that_breaks_off_before_a_reset_is_aborted():
    play = lost(Playbook().send(post(b"12345")[:-1]), TOO_LARGE[:-3])
    assert play.received.endswith(b"too la")
    assert play.closed
    assert play.exchange.code == "upstream_closed"


def test_the_rest_of_a_response_before_a_reset_is_passed_on():
    play = lost(Playbook().send(GET).reply(OK[:-1]), b"k")
    assert play.received.endswith(b"ok")
    assert not play.closed
