"""A corpus of malformed requests and responses, none of which is forwarded."""

import pytest

from addon.http1.limits import Limits
from tests.addon.http1.playbook import GET, OK, Playbook
from tests.addon.http1.replies import code, status

LINE = b"GET / HTTP/1.1\r\n"
HOST = LINE + b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"

REQUESTS = {
    "te and cl": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "cl and te": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 3, 3\r\n\r\n",
    "a signed length": POST + b"Content-Length: +3\r\n\r\n",
    "a negative length": POST + b"Content-Length: -3\r\n\r\n",
    "a hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\n",
    "a length with a space": POST + b"Content-Length: 3 3\r\n\r\n",
    "an empty length": POST + b"Content-Length:\r\n\r\n",
    "an overlong length": POST + b"Content-Length: 9999999999999999999999\r\n\r\n",
    "an overlong length of zeros": POST + b"Content-Length: 00000000000000000003\r\n\r\n",
    "a length that is underscored": POST + b"Content-Length: 1_0\r\n\r\n",
    "a length in other digits": POST + "Content-Length: ٣\r\n\r\n".encode(),
    "gzip and chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunked in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n',
    "a vertical tab before chunked": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "a coding with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n",
    "a coding on 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a space before the colon": HOST + b"X-A : 1\r\n\r\n",
    "a tab before the colon": POST + b"Transfer-Encoding\t: chunked\r\n\r\n",
    "a folded line": HOST + b"X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n",
    "a line folded with a tab": HOST + b"X-A: 1\r\n\tb\r\n\r\n",
    "a fold before the first header": LINE + b" Host: a\r\n\r\n",
    "a bare cr in a value": HOST + b"X-A: 1\rX-B: 2\r\n\r\n",
    "a bare lf in a value": HOST + b"X-A: 1\nX-B: 2\r\n\r\n",
    "bare lf everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "a bare lf at the end": HOST + b"X-A: 1\r\n\n",
    "nul in a value": HOST + b"X-A: 1\x00\r\n\r\n",
    "nul in a name": HOST + b"X\x00A: 1\r\n\r\n",
    "a control byte in a value": HOST + b"X-A: \x01\r\n\r\n",
    "delete in a value": HOST + b"X-A: \x7f\r\n\r\n",
    "no name": HOST + b": 1\r\n\r\n",
    "no colon": HOST + b"nonsense\r\n\r\n",
    "a name with a bracket": HOST + b"X(A): 1\r\n\r\n",
    "a name that is not ascii": HOST + b"X-\xe9: 1\r\n\r\n",
    "no host": LINE + b"\r\n",
    "two hosts": HOST + b"Host: b\r\n\r\n",
    "two equal hosts": HOST + b"Host: a\r\n\r\n",
    "an empty host": LINE + b"Host:\r\n\r\n",
    "a host with a path": LINE + b"Host: a/b\r\n\r\n",
    "a host with user info": LINE + b"Host: user@a\r\n\r\n",
    "a list of hosts": LINE + b"Host: a, b\r\n\r\n",
    "a host with a quote": LINE + b'Host: a"b\r\n\r\n',
    "two authorizations": HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "two tokens": HOST + b"X-Access-Token: a\r\nX-Access-Token: b\r\n\r\n",
    "two content types": HOST + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n",
    "version 0.9": b"GET /\r\n\r\n",
    "version 1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "version 9.9": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "version 1.10": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "version in lower case": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "the preface of http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another protocol": b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    "an absolute address": b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the address": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space at the end": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "an address that is not ascii": "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "a fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment in the query": b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n",
    "two empty lines first": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "nonsense": b"nonsense\r\n\r\n",
    "dots": b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
    "encoded dots": b"GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "dots between encoded slashes": b"GET /a%2f..%2fb HTTP/1.1\r\nHost: a\r\n\r\n",
    "dots between backslashes": b"GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a star for another method": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a star with a query": b"OPTIONS *?a HTTP/1.1\r\nHost: a\r\n\r\n",
    "a star behind a host": b"OPTIONS http://a* HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute address of another scheme": b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute address with a user": b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute address without a host": b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute address without a Host header": b"GET http://a/ HTTP/1.1\r\n\r\n",
    "a host for another method than connect": b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method that is no token": b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method with a parenthesis": b"GET() / HTTP/1.1\r\nHost: a\r\n\r\n",
    "hops that are no number": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: many\r\n\r\n",
    "hops below zero": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n",
    "hops said twice": b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\nMax-Forwards: 2\r\n\r\n",
    "an encoded nul": b"GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_malformed_request_reaches_neither_policy_nor_upstream(name, split):
    raw = REQUESTS[name]
    play = Playbook()
    if split:
        for byte in raw:
            play.send(bytes([byte]))
    else:
        play.send(raw + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status(play.received) == 400, play.received
    assert code(play.received) == "bad_request"
    assert play.received.count(b"HTTP/1.1 ") == 1
    assert play.upstreams == []
    assert play.policy.requests == []
    assert play.half_closed
    assert play.exchange.code == "bad_request"


@pytest.mark.parametrize(
    "raw",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 ;a\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"ffffffffffffffff\r\nabc",
        b"10000000000000003\r\nabc",
        b"3;" + b"x" * 300 + b"\r\nabc\r\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        (b"1;" + b"x" * 200 + b"\r\na\r\n") * 200 + b"0\r\n\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\nX: 1\r\n folded\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\n" + b"X: " + b"y" * 9000 + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("split", [True, False])
def test_odd_chunks_end_the_exchange(raw, split):
    play = Playbook().send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    for piece in [bytes([byte]) for byte in raw] if split else [raw]:
        play.send(piece)
    assert code(play.received) == "bad_request"
    assert not play.upstreams[0].endswith(b"0\r\n\r\n")
    assert not play.server.connected


REPLIES = {
    "not http": b"220 ftp.example ready\r\n\r\n",
    "icy": b"ICY 200 OK\r\n\r\n",
    "http/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "a short status": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "te and cl": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "a list of two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two types": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Type: text/plain\r\n\r\n",
    "a bad length": b"HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "a coding on 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n",
    "a bare cr": b"HTTP/1.1 200 OK\r\nX: 1\rY: 2\r\n\r\n",
    "a bare lf": b"HTTP/1.1 200 OK\nX: 1\n\n",
    "nul": b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
    "a space before a name": b"HTTP/1.1 200 OK\r\n X: 1\r\n\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "a control byte in the reason": b"HTTP/1.1 200 O\x01K\r\n\r\n",
    "two locations": b"HTTP/1.1 302 OK\r\nLocation: /a\r\nLocation: /b\r\n\r\n",
}


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("name", REPLIES)
def test_a_malformed_response_is_a_502(name, split):
    raw = REPLIES[name]
    play = Playbook().send(GET)
    for piece in [raw[n : n + 97] for n in range(0, len(raw), 97)] if split else [raw]:
        play.reply(piece)
    assert status(play.received) == 502, play.received
    assert code(play.received) == "upstream_invalid"
    assert not play.server.connected
    assert play.received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000,
        b"HTTP/1.1 200 " + b"y" * 40_000,
    ],
)
def test_a_response_head_that_is_too_large_has_its_own_code(head):
    play = Playbook().send(GET).reply(head)
    assert status(play.received) == 502
    assert code(play.received) == "upstream_head_too_large"
    assert not play.server.connected


NO_REQUESTS = {
    "a TLS hello": b"\x16\x03\x01\x02",
    "a NUL": b"\x00",
    "a space": b" ",
    "a closing bracket": b"}",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SMTP": b"EHLO example.org\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "a method and a control byte": b"GET\x01",
    "a target and a control byte": b"GET /\x7f",
    "another protocol": b"GET / RTSP/1.0\r\n",
    "the beginning of another protocol": b"GET / R",
}


@pytest.mark.parametrize("name", NO_REQUESTS)
def test_bytes_that_cannot_begin_a_request_are_answered_and_closed_at_once(name):
    """RFC 9112, section 3: a request begins with a method, which is a token, and a target."""
    play = Playbook().send(NO_REQUESTS[name])
    assert code(play.received) == "bad_request"
    assert play.half_closed


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\r\nM-SEARCH * HTTP/1.1\r\n", b"GET http://a/ HTTP/1.0\r\n"])
def test_every_beginning_of_a_request_is_completed(data):
    for size in range(1, len(data) + 1):
        play = Playbook().send(data[:size])
        assert play.received == b"", data[:size]


@pytest.mark.parametrize("data", [b"\x15\x03\x01\x00\x02", b"220 ", b"SSH-2.0", b"<", b"\r\n", b"HTTP/2"])
def test_bytes_that_cannot_begin_a_response_are_a_502_at_once(data):
    play = Playbook().send(GET).reply(data)
    assert code(play.received) == "upstream_invalid"
    assert not play.server.connected


def test_a_malformed_chunk_in_a_response_is_aborted():
    play = Playbook().send(GET).reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
    assert play.received.endswith(b"3\r\nabc\r\n")
    assert play.closed
    assert play.exchange.code == "upstream_invalid"


def test_sizes():
    limits = Limits(head_bytes=1000, url_bytes=100, header_count=5)
    for raw, expected in (
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "uri_too_long"),
        (b"GET /" + b"a" * 2000, "uri_too_long"),
        (HOST + b"X: " + b"y" * 2000, "headers_too_large"),
        (HOST + b"X: " + b"y" * 2000 + b"\r\n\r\n", "headers_too_large"),
        (HOST + b"X: y\r\n" * 6 + b"\r\n", "headers_too_large"),
    ):
        for split in (True, False):
            play = Playbook(limits=limits)
            for piece in [bytes([byte]) for byte in raw] if split else [raw]:
                play.send(piece)
            assert code(play.received) == expected
            assert play.upstreams == []


def test_an_unknown_expectation_is_a_417():
    play = Playbook().send(HOST + b"Expect: magic\r\n\r\n")
    assert status(play.received) == 417


def test_one_empty_line_before_a_request_is_skipped():
    play = Playbook().send(b"\r\n" + GET).reply(OK).send(b"\r").send(b"\n" + GET).reply(OK)
    assert play.received.count(b"200 OK") == 2


def test_garbage_after_a_request_does_not_reach_the_upstream():
    play = Playbook().send(GET + b"\x00\xffgarbage\r\n\r\n").reply(OK)
    assert play.upstreams[0].count(b"\r\n\r\n") == 1
    assert b"garbage" not in play.upstreams[0]
    assert play.received.count(b"HTTP/1.1 400") == 1
