"""The relay alone: what it sends to both sides, and when it reports a response as complete."""

import pytest

from addon.http1.connection.exchange_state import ExchangeError, ExchangeState, Phase
from addon.http1.connection.relay import Relay
from addon.http1.limits import Limits
from addon.http1.messages.body_framing import BodyReader, ChunkedReader
from tests.addon.http1.parts import Parts
from tests.addon.http1.playbook import CHUNKED, GET, OK, post


def sent(parts: Parts, request: bytes) -> tuple[Relay, ExchangeState]:
    """Send a request upstream."""
    relay = Relay(parts.shared, parts.tunnel)
    state = parts.exchange(request)
    if b"chunked" in request:
        state.body = ChunkedReader(parts.worker.limits.trailer_bytes)
    elif state.request.length:
        state.body = BodyReader(state.request.length)
    relay.send_request(state)
    return relay, state


def download(relay: Relay, state: ExchangeState, data: bytes) -> bool:
    assert state.response is not None
    return relay.download(state, state.response, data)


def test_a_request_without_a_body_is_sent_at_once():
    parts = Parts()
    _, state = sent(parts, GET)
    assert state.phase is Phase.REQUEST_SENT
    assert parts.sent_up.startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: upstream.example:8000\r\n")
    assert parts.deadlines.next == parts.deadlines.now + Limits().first_byte_seconds


def test_a_request_body_is_sent_piece_by_piece():
    parts = Parts()
    relay, state = sent(parts, post(b"12345")[:-2])
    assert state.phase is Phase.SENDING_REQUEST
    assert state.body is not None
    relay.upload(state, state.body, b"45rest")
    assert state.phase is Phase.REQUEST_SENT
    assert parts.sent_up.endswith(b"\r\n\r\n12345")
    assert parts.client.received.buffer == b"rest"
    assert state.exchange.bytes_in == 5


def test_a_response_is_complete_with_its_last_byte():
    parts = Parts()
    relay, state = sent(parts, GET)
    assert not download(relay, state, OK[:10])
    assert not download(relay, state, OK[10:-1])
    assert download(relay, state, OK[-1:])
    assert parts.sent_down.endswith(b"\r\n\r\nok")
    assert state.exchange.bytes_out == 2


def test_a_response_until_close_is_complete_when_the_upstream_closes():
    parts = Parts()
    relay, state = sent(parts, GET)
    assert not download(relay, state, b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert state.response is not None
    relay.end_response(state, state.response, is_lost=False)
    assert parts.sent_down.endswith(b"3\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("received", "code"),
    [
        (b"", "upstream_closed"),
        (OK[:-1], "upstream_closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "upstream_closed"),
    ],
)
def test_a_response_that_breaks_off_is_an_error(received, code):
    parts = Parts()
    relay, state = sent(parts, GET)
    if received:
        assert not download(relay, state, received)
    assert state.response is not None
    with pytest.raises(ExchangeError) as error:
        relay.end_response(state, state.response, is_lost=False)
    assert error.value.refusal.code == code


@pytest.mark.parametrize(
    ("received", "code"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "upstream_invalid"),
        (b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % (b"x" * 40_000), "upstream_head_too_large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "upstream_invalid"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "upstream_invalid"),
    ],
)
def test_a_malformed_response_is_an_error(received, code):
    relay, state = sent(Parts(), GET)
    with pytest.raises(ExchangeError) as error:
        download(relay, state, received)
    assert error.value.refusal.code == code


def test_a_malformed_request_body_is_an_error():
    with pytest.raises(ExchangeError) as error:
        sent(Parts(), CHUNKED + b"zz\r\n")
    assert error.value.refusal.status == 400


def test_a_request_body_above_the_limit_is_an_error():
    with pytest.raises(ExchangeError) as error:
        sent(Parts(Limits(body_bytes=3)), CHUNKED + b"4\r\nabcd\r\n")
    assert error.value.refusal.code == "body_too_large"
