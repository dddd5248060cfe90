"""The upstream connection: kept, lost, refused, unreachable."""

import pytest

from tests.addon.http1.playbook import GET, OK, Playbook, post
from tests.addon.http1.replies import code


def test_a_stale_kept_connection_is_retried_once():
    play = Playbook().send(GET).reply(OK).send(GET).upstream_hangs_up()
    assert len(play.upstreams) == 2
    assert play.upstreams[1].startswith(b"GET /a")
    play.upstream_hangs_up()
    assert len(play.upstreams) == 2
    assert b'"upstream_closed"' in play.received


def test_a_post_on_a_stale_connection_is_not_repeated():
    play = Playbook().send(GET).reply(OK).send(post(b"1")).upstream_hangs_up()
    assert len(play.upstreams) == 1
    assert b'"upstream_closed"' in play.received


def test_a_request_whose_response_has_begun_is_not_repeated():
    play = Playbook().send(GET).reply(OK).send(GET).reply(b"HTTP/1.1 200").upstream_hangs_up()
    assert len(play.upstreams) == 1


def test_a_kept_connection_that_closes_is_replaced():
    play = Playbook().send(GET).reply(OK).upstream_hangs_up()
    assert not play.closed
    play.send(GET).reply(OK)
    assert len(play.upstreams) == 2


def test_unexpected_bytes_close_the_kept_connection():
    play = Playbook().send(GET).reply(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert not play.server.connected
    play.send(GET).reply(OK)
    assert b"evil" not in play.received
    play.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    play.send(GET)
    assert len(play.upstreams) == 3
    assert b"evil" not in play.received


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        (b"", True),
        (b"Content-Length: 0\r\n", True),
        (b"Content-Length: 5\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", False),
    ],
)
def test_a_204_that_announces_a_body_leaves_the_connection_unusable(line, is_kept):
    play = Playbook().send(GET).reply(b"HTTP/1.1 204 No Content\r\n%b\r\n" % line)
    assert play.received.startswith(b"HTTP/1.1 204 ")
    assert not play.closed
    assert play.server.connected == is_kept


@pytest.mark.parametrize("line", [b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("status", [b"200 OK", b"304 Not Modified"])
def test_a_late_body_of_a_bodiless_response_is_not_read_as_a_response(status, line):
    """RFC 9112, 6.3: a response to HEAD, and a 304, end with their head, whatever length they announce."""
    method = b"GET" if status.startswith(b"304") else b"HEAD"
    play = Playbook().send(GET.replace(b"GET", method)).reply(b"HTTP/1.1 %b\r\n%b\r\n" % (status, line))
    assert play.take().startswith(b"HTTP/1.1 " + status)
    play.send(GET).reply_on(0, b"evil").reply(OK)
    assert play.received.endswith(b"\r\n\r\nok")
    assert b"evil" not in play.received
    assert len(play.upstreams) == 2


def test_an_unreachable_upstream_is_a_502_without_its_address():
    play = Playbook(connects=False).send(GET)
    play.connected("[Errno 111] Connect call failed ('10.0.0.1', 8000)")
    assert code(play.received) == "upstream_unreachable"
    assert b"10.0.0" not in play.received


def test_the_next_address_is_tried_and_the_dead_one_skipped():
    play = Playbook(connects=False, addresses=2).send(GET)
    dead = play.server.address
    play.connected("refused")
    assert play.server.address != dead
    play.connected()
    play.reply(OK)
    assert play.received.endswith(b"ok")
    assert all(play.upstream.candidates(play.time)[0] != dead for _ in range(4))
    play.time += 11
    assert any(play.upstream.candidates(play.time)[0] == dead for _ in range(4))


def test_a_client_that_closes_during_the_connection_attempt():
    play = Playbook(connects=False).send(GET).hang_up(lost=True)
    assert play.closed
    play.connected()
    assert play.upstreams == [b""]


def test_a_body_received_during_the_connection_attempt():
    play = Playbook(connects=False).send(post(b"12345")[:-3]).send(b"345")
    assert play.upstreams == [b""]
    play.connected()
    assert play.upstreams[0].endswith(b"\r\n\r\n12345")
