"""A WebSocket connection after its upgrade: bytes both ways, counted, and cut like anything else."""

import math

from mitmproxy.proxy import commands

from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.connection.lifecycle import Phase
from addon.http1.connection.relay import Relaying
from addon.http1.decisions import Refuse
from addon.http1.messages.forwarding import response_lines
from addon.http1.messages.head_parser import ResponseHead
from addon.http1.messages.response import UpstreamResponse

_UNASKED = Refuse(502, "upstream_invalid", "The upstream switched protocols without being asked.")
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%b%bX-Request-ID: %b\r\n\r\n"
)
# Once one side of a tunnel has ended, the other has this long to follow.
_END_SECONDS = 30.0


class Tunnelling(Relaying):
    """Runs a tunnel in place of a reply."""

    def _begin_tunnel(self, turn: ExchangeState, reply: UpstreamResponse, head: ResponseHead) -> None:
        upgrade = head.headers.get(b"upgrade")
        if not turn.is_websocket or upgrade is None or upgrade.lower() != b"websocket":
            self._fail(turn, _UNASKED)
            return
        exchange, ours = turn.exchange, turn.admit.reply_lines
        lines = response_lines(head, turn.request, turn.peer, self._worker.rules, drop_length=True, limited=bool(ours))
        self._send(_SWITCH % (lines, ours, exchange.request_id.encode()))
        exchange.status, exchange.sent_head, exchange.first_byte = 101, True, self._now
        exchange.tunnel = True
        for recording in turn.recordings:
            recording.response = head
        self._show_tunnel(turn)
        self._phase = Phase.TUNNEL
        self._total = math.inf
        self._resume()
        self._due(self._limits.tunnel_idle_seconds)
        self._tunnel_down(turn, reply.take_rest())
        self._tunnel_up(turn, self._intake.take_all())
        if self._half_closed:
            turn.client_ended = True
            self._tunnel_side_ended(turn, False)

    def _tunnel_up(self, turn: ExchangeState, data: bytes) -> None:
        if data:
            turn.exchange.bytes_in += len(data)
            self._policy.on_bytes(turn.exchange, len(data), 0)
            self._link.send(data)
            self._due(self._limits.tunnel_idle_seconds)

    def _tunnel_down(self, turn: ExchangeState, data: bytes) -> None:
        if data:
            turn.exchange.bytes_out += len(data)
            self._policy.on_bytes(turn.exchange, 0, len(data))
            self._send(data)
            self._due(self._limits.tunnel_idle_seconds)

    def _leave_tunnel(self) -> None:
        """The client has left: what it sent before may still be read and passed on, for a bounded while."""
        self.deadline = min(self.deadline, self._now + _END_SECONDS)

    def _tunnel_side_ended(self, turn: ExchangeState, lost: bool) -> None:
        """Pass on the end of one side; the tunnel is over when both have ended, or one is lost."""
        if lost or (turn.client_ended and turn.upstream_ended):
            self._abandon("")
            return
        if turn.client_ended:
            self._link.half_close()
        else:
            self._out.append(commands.CloseTcpConnection(self._client, half_close=True))
        self._due(_END_SECONDS)
