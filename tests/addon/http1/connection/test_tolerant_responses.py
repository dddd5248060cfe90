"""Malformed responses that nginx and clients accept are repaired; requests are parsed strictly."""

import pytest

from tests.addon.http1.playbook import CHUNKED, GET, OK, Playbook, post
from tests.addon.http1.replies import code, status


def reply(lines: bytes) -> Playbook:
    return Playbook().send(GET).reply(b"HTTP/1.1 200 OK\r\n%b\r\nok" % lines)


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"content-length"),
        (b"Content-Length: 2\r\ncontent-length:2 \r\n", b"content-length"),
        (b"Content-Length: 2, 2\r\n", b"content-length"),
        (b"Content-Type: a/b\r\nContent-Length: 2\r\nContent-Type: a/b\r\n", b"content-type"),
        (b"Location: /a\r\nLocation: /a\r\nContent-Length: 2\r\n", b"location"),
    ],
)
def test_an_identical_duplicate_passes_as_one(lines, name):
    """RFC 9110, 8.6: identical lengths may be replaced with a single one."""
    play = reply(lines)
    assert status(play.received) == 200
    assert play.received.lower().count(name + b":") == 1
    assert play.received.endswith(b"\r\n\r\nok")
    play.send(GET).reply(OK)
    assert len(play.upstreams) == 1


def test_a_space_before_the_colon_is_removed():
    """RFC 9112, 5.1: a proxy removes whitespace between name and colon from a response before it forwards it."""
    play = reply(b"X-A : 1\r\nContent-Length\t: 2\r\nSet-Cookie : a=b\r\n")
    assert b"X-A: 1\r\n" in play.received
    assert b"Set-Cookie: a=b\r\n" in play.received
    assert play.received.endswith(b"\r\n\r\nok")


def test_a_repaired_head_keeps_headers_that_may_be_repeated():
    play = reply(b"Set-Cookie: a=b\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\nContent-Length: 2\r\n")
    assert play.received.count(b"Set-Cookie: a=b\r\n") == 2


@pytest.mark.parametrize("line", [b"3   \r\n", b"3\t\r\n", b"3 ;a=b\r\n", b"003  ; a\r\n"])
@pytest.mark.parametrize("split", [True, False])
def test_a_chunk_size_may_be_padded(line, split):
    """RFC 9112, 7.1.1 allows whitespace before an extension; nginx and clients also read it without one."""
    raw = line + b"abc\r\n0" + line[1:].lstrip(b"03") + b"\r\n"
    play = Playbook().send(GET).reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    play.take()
    for piece in [bytes([byte]) for byte in raw] if split else [raw]:
        play.reply(piece)
    assert play.exchange.bytes_out == 3
    assert not play.closed
    play.send(GET).reply(OK)
    assert len(play.upstreams) == 1


@pytest.mark.parametrize("line", [b"3" + b" " * 40 + b"\r\n", b"3 3\r\n", b" 3\r\n", b"\r\n"])
def test_other_sizes_stay_malformed(line):
    play = Playbook().send(GET).reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line)
    assert play.closed
    assert play.exchange.code == "upstream_invalid"


@pytest.mark.parametrize("line", [b"3 \r\n", b"3 ;a\r\n"])
def test_requests_stay_strict(line):
    play = Playbook().send(CHUNKED + line)
    assert code(play.received) == "bad_request"


def test_a_request_with_two_equal_lengths_is_refused():
    play = Playbook().send(post(b"ok", b"Content-Length: 2\r\n"))
    assert code(play.received) == "bad_request"
