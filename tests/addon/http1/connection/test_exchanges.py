"""Complete exchanges, one interleaving each."""

import pytest

from addon.http1.decisions import Refuse
from addon.http1.limits import Limits
from tests.addon.http1.playbook import CHUNKED, GET, OK, Playbook, post
from tests.addon.http1.replies import status


def test_a_request_is_forwarded_and_its_response_returned():
    play = Playbook().send(GET)
    head = play.upstreams[0]
    assert head.startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: upstream.example:8000\r\n")
    assert b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: proxy.example\r\n" in head
    assert b'Forwarded: for=192.0.2.7;host="proxy.example";proto=http\r\n' in head
    assert b"X-User-Id: u1\r\nX-Token-Id: t1\r\n" in head
    play.reply(OK)
    assert play.received.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-ID: ")
    assert play.received.endswith(b"\r\n\r\nok")
    assert not play.closed
    assert (play.exchange.status, play.exchange.bytes_in, play.exchange.bytes_out) == (200, 0, 2)
    assert play.policy.opened == play.policy.closed


def test_one_upstream_connection_is_kept_for_the_next_request():
    play = Playbook().send(GET).reply(OK).send(GET).reply(OK)
    assert len(play.upstreams) == 1
    assert play.received.count(b"200 OK") == 2


def test_pipelined_requests_are_answered_in_order():
    play = Playbook().send(GET + GET.replace(b"/a", b"/second") + GET.replace(b"/a", b"/third"))
    assert play.upstreams[0].count(b"GET ") == 1
    play.reply(OK)
    assert b"GET /second" in play.upstreams[0]
    assert b"GET /third" not in play.upstreams[0]
    play.reply(OK).reply(OK)
    assert play.received.count(b"200 OK") == 3


def test_a_client_that_sends_far_ahead_is_no_longer_read():
    limits = Limits(held_bytes=1000, held_hard_bytes=5000)
    play = Playbook(limits=limits).send(GET).send(b"x" * 1001)
    assert play.sockets.paused
    play.send(b"x" * 5000)
    assert status(play.take()) == 400
    assert play.half_closed


def test_reading_resumes_after_the_response():
    play = Playbook(limits=Limits(held_bytes=10)).send(GET).send(GET)
    assert play.sockets.paused
    play.reply(OK)
    assert not play.sockets.paused


def test_a_body_is_streamed_and_counted():
    play = Playbook().send(post(b"12345")[:-3])
    assert play.upstreams[0].endswith(b"\r\n\r\n12")
    play.send(b"345")
    assert play.upstreams[0].endswith(b"\r\n\r\n12345")
    play.reply(OK)
    assert (play.exchange.bytes_in, play.exchange.bytes_out) == (5, 2)
    assert (play.policy.bytes_in, play.policy.bytes_out) == (5, 2)


def test_a_chunked_body_is_framed_anew_and_its_trailers_pass():
    play = Playbook().send(CHUNKED + b"3;ext=1\r\nabc\r\n")
    play.send(b"2\r\nde\r\n0\r\nX-Check: 1\r\nContent-Length: 9\r\n\r\n" + GET)
    assert play.upstreams[0].endswith(b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Check: 1\r\n\r\n")
    play.reply(OK)
    assert play.exchange.bytes_in == 5
    assert b"GET /a" in play.upstreams[0]


def test_trailers_cannot_bypass_the_header_rules():
    trailers = b"X-Sum: 1\r\nX_User_Id: evil\r\nX-Forwarded-Port: evil\r\nAuthorization: evil\r\nX-Real-IP: evil\r\n"
    play = Playbook().send(CHUNKED + b"0\r\n" + trailers + b"\r\n")
    assert play.upstreams[0].endswith(b"0\r\nX-Sum: 1\r\n\r\n")
    assert b"evil" not in play.upstreams[0]


def test_a_malformed_chunk_ends_both_sides():
    play = Playbook().send(CHUNKED + b"zz\r\n")
    assert status(play.received) == 400
    assert play.half_closed
    assert not play.server.connected


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_response_without_a_body_leaves_the_connection_usable(method):
    play = Playbook().send(GET.replace(b"GET", method))
    if method == b"HEAD":
        play.reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        assert b"Content-Type: text/plain" in play.received
    else:
        play.reply(b"HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n")
    play.send(GET).reply(OK)
    assert play.take().endswith(b"ok")
    assert len(play.upstreams) == 1


def test_204_loses_its_framing():
    play = Playbook().send(GET).reply(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert b"ontent-" not in play.received


def test_a_chunked_response_with_trailers():
    play = Playbook().send(GET).reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert play.take().endswith(b"\r\n\r\n3\r\nabc\r\n")
    play.reply(b"0\r\nX-T: 1\r\nSet-Cookie: a=b\r\n\r\n")
    assert play.received == b"0\r\nX-T: 1\r\n\r\n"
    assert play.exchange.bytes_out == 3


def test_a_response_until_close_becomes_chunked():
    play = Playbook().send(GET).reply(b"HTTP/1.1 200 OK\r\n\r\nabc")
    play.upstream_hangs_up()
    assert b"Transfer-Encoding: chunked" in play.received
    assert play.received.endswith(b"3\r\nabc\r\n0\r\n\r\n")
    assert not play.closed
    play.send(GET)
    assert len(play.upstreams) == 2


def test_a_response_until_close_on_a_lost_connection_is_incomplete():
    play = Playbook().send(GET).reply(b"HTTP/1.1 200 OK\r\n\r\nabc").upstream_hangs_up(lost=True)
    assert not play.received.endswith(b"0\r\n\r\n")
    assert play.closed
    assert play.exchange.code == "upstream_closed"


def test_http_1_0_gets_its_response_until_close():
    play = Playbook().send(b"GET /a HTTP/1.0\r\n\r\n")
    play.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert b"Connection: close" in play.received
    assert b"chunked" not in play.received
    assert play.received.endswith(b"\r\n\r\nabc")
    assert play.closed


def test_http_1_0_can_be_kept_alive():
    play = Playbook().send(b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").reply(OK)
    assert b"Connection: keep-alive" in play.received
    assert not play.closed


def test_an_incomplete_response_to_http_1_0_is_a_reset():
    play = Playbook().send(b"GET /a HTTP/1.0\r\n\r\n")
    play.reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab").upstream_hangs_up()
    assert play.sockets.aborted


def test_connection_close_from_the_client():
    play = Playbook().send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).reply(OK)
    assert b"Connection: close\r\n" in play.received
    assert play.closed


def test_connection_close_from_the_upstream_is_not_sent_on():
    play = Playbook().send(GET).reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    assert b"onnection" not in play.received
    play.send(GET)
    assert len(play.upstreams) == 2


def test_a_client_that_half_closes_still_gets_its_response_where_that_is_allowed():
    play = Playbook(limits=Limits(half_close=True)).send(GET).hang_up()
    assert not play.closed
    play.reply(OK)
    assert play.received.endswith(b"ok")
    assert play.closed


def test_a_client_that_half_closes_after_two_requests_gets_both_where_that_is_allowed():
    play = Playbook(limits=Limits(half_close=True)).send(GET + GET).hang_up().reply(OK)
    assert not play.closed
    play.reply(OK)
    assert play.received.count(b"200 OK") == 2
    assert play.closed


def test_a_client_that_is_lost_ends_the_exchange():
    play = Playbook().send(GET).hang_up(lost=True)
    assert play.closed
    assert play.exchange.code == "client_closed"


def test_an_upload_that_breaks_off_never_looks_complete():
    play = Playbook().send(CHUNKED + b"3\r\nabc\r\n").hang_up()
    assert not play.upstreams[0].endswith(b"0\r\n\r\n")
    assert not play.server.connected
    assert play.exchange.bytes_in == 3


@pytest.mark.parametrize("whole", [True, False])
def test_an_early_response_during_an_upload(whole):
    play = Playbook().send(post(b"x" * 100)[:-50])
    play.reply(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\n" + (b"abc" if whole else b"a"))
    assert b"Connection: close" in play.received
    if not whole:
        play.send(b"x" * 20).reply(b"bc")
    assert play.received.endswith(b"abc")
    assert play.half_closed
    assert not play.closed
    play.hang_up()
    assert play.closed


def test_continue_is_sent_when_the_upstream_sends_it():
    play = Playbook().send(post(b"123", b"Expect: 100-continue\r\n")[:-3])
    assert play.received == b""
    assert b"Expect: 100-continue\r\n" in play.upstreams[0]
    play.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert play.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    play.send(b"123").reply(OK)
    assert play.upstreams[0].endswith(b"\r\n\r\n123")
    assert play.received.endswith(b"ok")


def test_continue_is_sent_for_an_upstream_that_does_not():
    play = Playbook().send(post(b"123", b"Expect: 100-continue\r\n")[:-3]).wait(1.25)
    assert play.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    play.reply(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert play.received == b""


def test_continue_is_not_sent_before_admission():
    play = Playbook()
    play.policy.decide = lambda _: Refuse(401, "token_missing", "An access token is needed.")
    play.send(post(b"x" * 5_000, b"Expect: 100-continue\r\n")[:-5_000])
    assert status(play.received) == 401
    assert b"100 Continue" not in play.received
    assert play.half_closed
    assert play.upstreams == []


def test_early_hints_are_sent_on_and_an_unexpected_100_is_not():
    play = Playbook().send(GET)
    play.reply(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert play.received.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_early_hints_do_not_reach_http_1_0():
    play = Playbook().send(b"GET / HTTP/1.0\r\n\r\n").reply(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert play.received.startswith(b"HTTP/1.1 200 OK\r\n")


def test_too_many_informational_responses_are_a_502():
    play = Playbook().send(GET).reply(b"HTTP/1.1 102 Processing\r\n\r\n" * 40)
    assert b"502 Bad Gateway" in play.received
