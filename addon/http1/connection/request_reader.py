"""Reads a client's requests and refuses those that are malformed, before the policy is asked."""

from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.decisions import Peer
from addon.http1.limits import Limits
from addon.http1.messages.body_framing import BodyReader, ChunkedReader
from addon.http1.messages.forwarding import Rules, forwarded_peer, strip_prefix
from addon.http1.messages.head_parser import HeadError, parse_request
from addon.http1.messages.header_cache import HeaderCache
from addon.http1.messages.heads import RequestHead
from addon.http1.messages.receive_buffer import ReceiveBuffer
from models.addresses import is_in
from models.services.gateway.request_paths import path_fault

_READS = ("GET", "HEAD")


class RequestReader:
    """Takes request heads from one client's receive buffer."""

    def __init__(
        self, received: ReceiveBuffer, peer: Peer, limits: Limits, rules: Rules, header_cache: HeaderCache
    ) -> None:
        self._received = received
        self._peer = peer
        self._limits = limits
        self._rules = rules
        self._header_cache = header_cache
        self._is_behind_proxy = is_in(peer.address, rules.trusted_proxies)

    def read(self) -> RequestHead | None:
        """Return the next request, or None while its head is incomplete. Raises HeadError."""
        raw = self._received.take_head()
        return None if raw is None else parse_request(raw, self._limits, self._header_cache.get)

    def check(self, state: ExchangeState) -> None:
        """Check the request's target and framing; set its path, its peer and its body reader. Raises HeadError."""
        request, rules = state.request, self._rules
        if request.raw_path == b"//health" and rules.compatibility_prefix and request.method in _READS:
            # The desktop client's base address may end in a slash.
            request.path = request.raw_path = b"/health"
        if request.target_authority is not None and request.target_authority not in rules.own_authorities:
            raise HeadError("The address names another server.")
        wrong = path_fault(request.raw_path)
        if wrong is not None:
            raise HeadError(wrong)
        path = strip_prefix(request.raw_path, rules.compatibility_prefix)
        if path is not None:
            request.compat, request.path = True, path
        state.peer = forwarded_peer(self._peer, request.headers, rules) if self._is_behind_proxy else self._peer
        state.exchange.client_address = state.peer.address
        self._check_body(state, request)

    def _check_body(self, state: ExchangeState, request: RequestHead) -> None:
        length, limit = request.length, self._limits.body_bytes
        if length is None:
            state.body = ChunkedReader(self._limits.trailer_bytes)
        elif length:
            state.body = BodyReader(length)
            if limit and length > limit:
                raise HeadError("The body is larger than this proxy allows.", 413, "body_too_large")
        expect = request.headers.get(b"expect")
        if expect is not None:
            if expect.lower() != b"100-continue":
                raise HeadError("The expectation is not known.", 417, "expectation_failed")
            state.expects_continue = state.body is not None and not request.http10
        state.is_websocket = request.wants_websocket
