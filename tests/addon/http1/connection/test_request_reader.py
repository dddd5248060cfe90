"""The request reader alone: bytes in, a checked request or a HeadError out."""

from ipaddress import ip_network

import pytest

from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.connection.request_reader import RequestReader
from addon.http1.decisions import Peer
from addon.http1.exchange import Exchange
from addon.http1.limits import Limits
from addon.http1.messages.body_framing import ChunkedReader
from addon.http1.messages.forwarding import Rules
from addon.http1.messages.head_parser import HeadError
from addon.http1.messages.header_cache import HeaderCache
from addon.http1.messages.receive_buffer import ReceiveBuffer
from tests.addon.http1.playbook import CHUNKED, GET, post


def reader(data: bytes, *, limits: Limits | None = None, rules: Rules | None = None) -> RequestReader:
    received = ReceiveBuffer(limits or Limits())
    received.buffer = data
    return RequestReader(received, Peer("192.0.2.7", "http"), limits or Limits(), rules or Rules(), HeaderCache())


def checked(data: bytes, *, limits: Limits | None = None, rules: Rules | None = None) -> ExchangeState:
    read = reader(data, limits=limits, rules=rules)
    request = read.read()
    assert request is not None
    state = ExchangeState(Exchange("id-1", 0.0))
    state.request = request
    read.check(state)
    return state


def test_requests_are_read_in_order_and_an_incomplete_one_is_awaited():
    read = reader(GET + GET.replace(b"/a", b"/second") + GET[:-2])
    paths = [request.path for request in (read.read(), read.read()) if request is not None]
    assert paths == [b"/a", b"/second"]
    assert read.read() is None


def test_the_body_reader_follows_the_framing():
    assert checked(GET).body is None
    assert isinstance(checked(CHUNKED).body, ChunkedReader)
    state = checked(post(b"123"))
    assert state.body is not None
    assert state.body.left == 3


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (post(b"x" * 11), 413),
        (post(b"x", b"Expect: 200-ok\r\n"), 417),
        (GET.replace(b"/a", b"/a/../b"), 400),
        (GET.replace(b"/a", b"http://other.example/a"), 400),
    ],
)
def test_a_request_that_fails_a_check_carries_its_status(request_head, status):
    with pytest.raises(HeadError) as error:
        checked(request_head, limits=Limits(body_bytes=10))
    assert error.value.status == status


def test_the_compatibility_prefix_is_removed_from_the_path():
    state = checked(GET.replace(b"/a", b"/api/v1/proxy/a"))
    assert (state.request.path, state.request.raw_path) == (b"/a", b"/api/v1/proxy/a")
    assert state.request.compat


def test_a_trusted_proxy_names_the_client():
    head = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n")
    assert checked(head).exchange.client_address == "192.0.2.7"
    state = checked(head, rules=Rules(trusted_proxies=(ip_network("192.0.2.0/24"),)))
    assert state.exchange.client_address == "198.51.100.9"
    assert state.peer.was_forwarded
