"""A WebSocket tunnel: bytes in both directions after the upgrade, counted by the policy."""

import math

from addon.http1.connection.exchange_state import ExchangeError, ExchangeState, Phase
from addon.http1.connection.parts import ConnectionParts
from addon.http1.decisions import Refuse
from addon.http1.messages.forwarding import response_lines
from addon.http1.messages.heads import ResponseHead
from addon.http1.messages.response import UpstreamResponse
from addon.http1.observe.recording import notify_tunnel_opened

_NOT_REQUESTED = Refuse(502, "upstream_invalid", "The upstream switched protocols without being asked.")
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%b%bX-Request-ID: %b\r\n\r\n"
)
# Once one side of a tunnel has ended, the other has this long to follow.
_END_SECONDS = 30.0


class WebSocketTunnel:
    """Relays the bytes of a WebSocket connection."""

    def __init__(self, parts: ConnectionParts) -> None:
        self._worker = parts.worker
        self._policy = parts.worker.policy
        self._idle_seconds = parts.worker.limits.tunnel_idle_seconds
        self._client = parts.client
        self._upstream = parts.upstream
        self._deadlines = parts.deadlines

    def begin(self, state: ExchangeState, response: UpstreamResponse, head: ResponseHead) -> None:
        """Switch protocols. Raises ExchangeError when the client did not ask for it."""
        upgrade = head.headers.get(b"upgrade")
        if not state.is_websocket or upgrade is None or upgrade.lower() != b"websocket":
            raise ExchangeError(_NOT_REQUESTED)
        exchange, ours, rules = state.exchange, state.admit.reply_lines, self._worker.rules
        lines = response_lines(head, state.request, state.peer, rules, drop_length=True, limited=bool(ours))
        self._client.send(_SWITCH % (lines, ours, exchange.request_id.encode()))
        exchange.status, exchange.sent_head, exchange.first_byte = 101, True, self._deadlines.now
        exchange.tunnel = True
        for recording in state.recordings:
            recording.response = head
        notify_tunnel_opened(state.recordings, exchange)
        state.phase = Phase.TUNNEL
        self._deadlines.total = math.inf
        self._client.resume()
        self._deadlines.set(self._idle_seconds)
        self.send_to_client(state, response.take_rest())
        self.send_to_upstream(state, self._client.received.take_all())
        if self._client.has_ended:
            state.client_ended = True
            self.end_side(state, is_lost=False)

    def send_to_upstream(self, state: ExchangeState, data: bytes) -> None:
        """Count and send bytes from the client."""
        if data:
            state.exchange.bytes_in += len(data)
            self._policy.on_bytes(state.exchange, len(data), 0)
            self._upstream.send(data)
            self._deadlines.set(self._idle_seconds)

    def send_to_client(self, state: ExchangeState, data: bytes) -> None:
        """Count and send bytes from the upstream."""
        if data:
            state.exchange.bytes_out += len(data)
            self._policy.on_bytes(state.exchange, 0, len(data))
            self._client.send(data)
            self._deadlines.set(self._idle_seconds)

    def limit_remaining_time(self) -> None:
        """The client has closed: bytes that it sent before may still be read and passed on, for a bounded time."""
        deadlines = self._deadlines
        deadlines.next = min(deadlines.next, deadlines.now + _END_SECONDS)

    def end_side(self, state: ExchangeState, *, is_lost: bool) -> bool:
        """Pass on the end of one side; return whether the tunnel is over: both sides have ended, or one is lost."""
        if is_lost or (state.client_ended and state.upstream_ended):
            return True
        if state.client_ended:
            self._upstream.half_close()
        else:
            self._client.half_close()
        self._deadlines.set(_END_SECONDS)
        return False
