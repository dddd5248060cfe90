"""The WebSocket tunnel alone: the switch of protocols, bytes both ways, and the end of each side."""

import pytest

from addon.http1.connection.exchange_state import ExchangeError, ExchangeState, Phase
from addon.http1.limits import Limits
from addon.http1.messages.head_parser import parse_response
from addon.http1.messages.header_cache import ResponseHeaderCache
from addon.http1.messages.response import UpstreamResponse
from tests.addon.http1.connection.test_deadlines_and_aborts import SWITCH, UPGRADE
from tests.addon.http1.parts import Parts
from tests.addon.http1.playbook import GET


def begun(parts: Parts, request: bytes = UPGRADE, response: bytes = SWITCH) -> ExchangeState:
    state = parts.exchange(request)
    state.is_websocket = state.request.wants_websocket
    head = parse_response(response, Limits())
    parts.tunnel.begin(state, UpstreamResponse("GET", Limits(), ResponseHeaderCache()), head)
    return state


def test_the_switch_is_sent_with_what_the_client_sent_ahead():
    parts = Parts()
    state = begun(parts, UPGRADE + b"ahead")
    assert parts.sent_down.startswith(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
    assert parts.sent_up == b"ahead"
    assert state.phase is Phase.TUNNEL
    assert (state.exchange.status, state.exchange.tunnel) == (101, True)


@pytest.mark.parametrize(("request_head", "response"), [(GET, SWITCH), (UPGRADE, SWITCH.replace(b"websocket", b"h2c"))])
def test_a_switch_that_was_not_requested_is_an_error(request_head, response):
    with pytest.raises(ExchangeError) as error:
        begun(Parts(), request_head, response)
    assert error.value.refusal.code == "upstream_invalid"


def test_bytes_are_counted_in_each_direction():
    parts = Parts()
    state = begun(parts)
    parts.tunnel.send_to_upstream(state, b"up")
    parts.tunnel.send_to_client(state, b"down")
    assert parts.sent_up == b"up"
    assert parts.sent_down.endswith(b"\r\n\r\ndown")
    assert (parts.policy.bytes_in, parts.policy.bytes_out) == (2, 4)
    assert (state.exchange.bytes_in, state.exchange.bytes_out) == (2, 4)


def test_a_tunnel_is_over_when_both_sides_have_ended():
    parts = Parts()
    state = begun(parts)
    state.upstream_ended = True
    assert not parts.tunnel.end_side(state, is_lost=False)
    state.client_ended = True
    assert parts.tunnel.end_side(state, is_lost=False)


def test_a_tunnel_is_over_when_one_side_is_lost():
    parts = Parts()
    assert parts.tunnel.end_side(begun(parts), is_lost=True)
