"""The header cache: exact bytes, bounded, and no bypass of admission."""

import pytest

from addon.http1.decisions import Refuse
from addon.http1.limits import Limits
from addon.http1.messages import header_cache
from addon.http1.messages.head_parser import parse_request
from addon.http1.messages.header_cache import HeaderCache
from addon.http1.messages.heads import Headers
from tests.addon.http1.messages.test_host_rewriting import RULES
from tests.addon.http1.playbook import GET, OK, Playbook


def block(number: int, size: int = 0) -> Headers:
    raw = b"1\r\nX-Number: %d\r\nX-Long: %b\r\n\r\n" % (number, b"x" * size)
    return Headers(raw, [], {})


def test_an_admitted_block_is_parsed_once_and_decided_each_time():
    play = Playbook().send(GET).reply(OK)
    kept = play.policy.requests[0].headers
    play.send(GET.replace(b"/a?b=1", b"/other")).reply(OK)
    assert play.policy.requests[1].headers is kept
    assert (play.policy.requests[1].path, len(play.policy.requests)) == (b"/other", 2)
    play.policy.decide = lambda _: Refuse(401, "token_revoked", "Revoked.")
    play.send(GET)
    assert b" 401 " in play.received


def test_a_block_that_differs_by_a_byte_or_a_version_is_parsed_again():
    play = Playbook().send(GET).reply(OK).send(GET.replace(b"Host: ", b"Host:  ")).reply(OK)
    assert play.policy.requests[1].headers is not play.policy.requests[0].headers
    cache = HeaderCache()
    modern = parse_request(GET, Limits(), cache.get)
    cache.add(modern.headers)
    assert parse_request(GET, Limits(), cache.get).headers is modern.headers
    old = parse_request(GET.replace(b"HTTP/1.1", b"HTTP/1.0"), Limits(), cache.get)
    assert old.headers is not modern.headers
    assert old.http10


def test_the_block_of_a_refused_request_is_not_cached():
    play = Playbook()
    play.policy.decide = lambda _: Refuse(401, "token_invalid", "Invalid.")
    play.send(GET)
    assert play.worker_context.header_cache.get(play.policy.requests[0].headers.raw) is None


def test_the_oldest_block_is_evicted_first_and_long_ones_are_not_cached(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(header_cache, "BLOCKS", 3)
    cache = HeaderCache()
    blocks = [block(number) for number in range(5)]
    for each in blocks:
        cache.add(each)
    assert [cache.get(each.raw) is each for each in blocks] == [False, False, True, True, True]
    long = block(9, header_cache.BLOCK_BYTES)
    cache.add(long)
    assert cache.get(long.raw) is None


def response(version: bytes = b"1", lines: bytes = b"ETag: a\r\n") -> bytes:
    return b"HTTP/1.%b 200 OK\r\nContent-Length: 2\r\n%b\r\nok" % (version, lines)


def test_a_repeated_block_of_responses_is_parsed_once():
    play = Playbook().send(GET).reply(response()).send(GET).reply(response())
    assert play.take().count(b"ETag: a\r\n") == 2
    cache = play.worker_context.response_cache
    assert cache.get(b"Content-Length: 2\r\nETag: a\r\n\r\n") is not None


def test_the_version_of_a_response_counts_although_its_block_is_cached():
    """RFC 9112, 9.3: a response of HTTP/1.0 without keep-alive ends its connection."""
    play = Playbook().send(GET).reply(response()).send(GET).reply(response(b"0")).send(GET)
    assert len(play.upstreams) == 2


def test_responses_with_cookies_are_not_cached():
    lines = b"Set-Cookie: session=secret\r\n"
    play = Playbook().send(GET).reply(response(lines=lines))
    assert lines in play.received
    assert play.worker_context.response_cache.get(b"Content-Length: 2\r\n%b\r\n" % lines) is None


def test_a_cached_block_is_rewritten_for_each_request():
    """A redirect names the proxy as this client reaches it, so the lines cannot be reused."""
    play = Playbook(rules=RULES)
    for host in (b"one.example", b"two.example"):
        play.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
        play.reply(response(lines=b"Location: http://upstream.example:8000/x\r\n"))
        assert b"Location: http://%b/x\r\n" % host in play.take()
