"""How exchanges and connections end: in order, by refusal, by a cut, or by a fault of our own.

The phases of a connection, in the order an exchange walks through them:

1. IDLE: a head is awaited, or being collected.
2. HELD: the request waits for a decision, for the upstream connection, or for its first use.
3. SENDING: the head went upstream, the request's body follows.
4. SENT: the request is complete, the reply is awaited or under way.
5. TUNNEL, after a WebSocket upgrade; LINGER, after an answer that did not wait for the body; DEAD.
"""

import logging
import math
import secrets
from enum import Enum, auto

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer

from addon.http1.connection.context import WorkerContext
from addon.http1.connection.events import Sockets
from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.connection.upstream_connection import UpstreamConnection
from addon.http1.decisions import Local, Peer, Refuse
from addon.http1.exchange import Exchange
from addon.http1.messages.receive_buffer import ReceiveBuffer
from addon.http1.pages.error_responses import local_response, refusal_response
from models.addresses import canonical, is_in

logger = logging.getLogger(__name__)

INTERNAL = Refuse(500, "internal", "Something went wrong on our side.")


class Phase(Enum):
    """What the layer is doing; see above."""

    IDLE = auto()
    HELD = auto()
    SENDING = auto()
    SENT = auto()
    TUNNEL = auto()
    LINGER = auto()
    DEAD = auto()


class Endings(Layer):
    """The state of one client connection, and every way in which it ends."""

    def __init__(self, context: Context, worker: WorkerContext, sockets: Sockets) -> None:
        super().__init__(context)
        self._worker = worker
        self._limits = worker.limits
        self._policy = worker.policy
        self._sockets = sockets
        self._client = context.client
        self._out: list[commands.Command] = []
        self._link = UpstreamConnection(self, self._out, sockets)
        self._intake = ReceiveBuffer(worker.limits)
        self._is_paused = False
        self._half_closed = False
        self._discarded = 0
        self._now = worker.clock()
        self._address = canonical(context.client.peername[0])
        self._peer = Peer(self._address, "https" if context.client.tls else "http")
        self._is_behind_proxy = is_in(self._address, worker.rules.trusted_proxies)
        self._name = secrets.token_hex(8)
        self._count = 0
        self._phase = Phase.IDLE
        # When the sweeper shall wake this layer.
        self.deadline = self._now + worker.limits.head_seconds
        self._idle_until = self.deadline
        self._total = math.inf
        self._turn: ExchangeState | None = None

    @property
    def known(self) -> object:
        """What the policy knows of the client whose exchange is under way; None when none is."""
        return None if self._turn is None else self._turn.exchange.known

    def _due(self, seconds: float) -> None:
        """Ask to be woken in so many seconds, or when the exchange as a whole has lasted too long."""
        self.deadline = min(self._now + seconds, self._total)

    def _send(self, data: bytes) -> None:
        self._out.append(commands.SendData(self._client, data))

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._sockets.pause()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._sockets.resume()

    def _is_complete(self, turn: ExchangeState) -> bool:
        """Whether nothing more of the request will come; what is here of its body is discarded."""
        body = turn.body
        if body is None or body.done:
            return True
        if self._phase is Phase.SENDING or body.fault:
            return False
        body.receive(self._intake.take_all())
        self._intake.buffer = body.rest
        return body.done and body.fault is None

    def _must_close(self, exchange: Exchange) -> bool:
        """Whether an answer of ours ends the connection.

        Who was not admitted and has sent more already is not served from what he sent: thousands of refusals at once
        would hold everybody else up.
        """
        request = exchange.request
        if request is None or not request.keep_alive or (exchange.admission is None and self._intake.buffer):
            return True
        return self._half_closed or self._worker.registry.draining

    def _refuse(self, turn: ExchangeState, refuse: Refuse, *, close: bool = False) -> None:
        """Answer with an error, at once; then go on, or linger so that the answer is not lost."""
        exchange = turn.exchange
        complete = self._is_complete(turn)
        close = close or not complete or self._must_close(exchange)
        reply = refusal_response(
            refuse,
            exchange.request,
            exchange.request_id,
            close=close,
            portal_url=self._worker.rules.portal_url,
            lines=turn.cors + (exchange.admission.reply_lines if exchange.admission else b""),
        )
        self._send(reply)
        exchange.code = refuse.code
        self._answered_by_us(turn, refuse.status, close)

    def _answer(self, turn: ExchangeState, local: Local) -> None:
        """Give the policy's own answer."""
        complete = self._is_complete(turn)
        close = not complete or self._must_close(turn.exchange)
        self._send(local_response(local, turn.request, turn.exchange.request_id, close=close, lines=turn.cors))
        self._answered_by_us(turn, local.status, close)

    def _answered_by_us(self, turn: ExchangeState, status: int, close: bool) -> None:
        turn.exchange.status, turn.exchange.sent_head = status, True
        if self._worker.observers:
            self._record(turn)
        self._end_exchange()
        if close:
            self._linger()
        else:
            self._rest()

    def _record(self, turn: ExchangeState) -> None:
        """Ask those who watch, once it is known whose the exchange is, whether they want it."""
        if turn.recordings:
            return
        try:
            begun = [observer.begin(turn.exchange) for observer in self._worker.observers]
        except Exception:
            logger.exception("an observer failed; the exchange goes on")
        else:
            turn.recordings = [recording for recording in begun if recording is not None]

    def _show_tunnel(self, turn: ExchangeState) -> None:
        """Tell those who watch that a tunnel stands, which they would else learn at its end."""
        try:
            for recording in turn.recordings:
                recording.observer.opened(turn.exchange, recording)
        except Exception:
            logger.exception("an observer failed; the tunnel goes on")

    def _fail(self, turn: ExchangeState, refuse: Refuse, *, close: bool = False) -> None:
        """The exchange cannot be completed: say so, or cut what has begun."""
        self._link.close()
        if turn.exchange.sent_head:
            self._break_off(turn, refuse.code)
        else:
            self._refuse(turn, refuse, close=close)

    def _break_off(self, turn: ExchangeState, code: str) -> None:
        """End a reply that cannot be completed, so that the client sees that it is incomplete."""
        # Without a framing of its own, a reply would look whole after an orderly end.
        if turn.reply is not None and turn.reply.until_close:
            self._sockets.abort(self._client)
        self._abandon(code)

    def _cut(self, refuse: Refuse) -> None:
        """End whatever is going on, now."""
        turn = self._turn
        if turn is None:
            if self._phase is not Phase.LINGER:
                self._close()
        elif not turn.exchange.sent_head:
            self._link.close()
            self._refuse(turn, refuse, close=True)
        else:
            if self._link.server is not None:
                self._sockets.abort(self._link.server)
            self._sockets.abort(self._client)
            self._abandon(refuse.code)

    def _abandon(self, code: str) -> None:
        """Leave the exchange as it is and close both sides."""
        if self._turn is not None:
            exchange = self._turn.exchange
            exchange.code = exchange.code or code
            self._end_exchange()
        self._close()

    def _end_exchange(self) -> None:
        """Report that the exchange is over; what the policy does with it cannot harm the connection."""
        turn, self._turn = self._turn, None
        self._total = math.inf
        if turn is None:
            return
        exchange = turn.exchange
        exchange.ended = self._now
        exchange.is_open = False
        if exchange.tunnel and self._worker.observers:
            self._record(turn)  # Whoever began to watch in its midst sees how it ended.
        try:
            self._policy.on_close(exchange)
            for recording in turn.recordings:
                recording.observer.end(exchange, recording)
        except Exception:
            logger.exception("the policy failed to note the end of an exchange")

    def _rest(self) -> None:
        """Be ready for the next request."""
        limits = self._limits
        self._phase = Phase.IDLE
        self._idle_until = self._now + limits.keep_alive_seconds
        self._due(min(limits.keep_alive_seconds, limits.upstream_idle_seconds))
        self._resume()

    def _linger(self) -> None:
        """Send no more, and discard what comes for a bounded while: a reset could destroy the answer."""
        self._link.close()
        self._sockets.abort_unless_flushed(self._client)
        if self._half_closed or not self._client.state & ConnectionState.CAN_WRITE:
            self._close()
            return
        self._out.append(commands.CloseTcpConnection(self._client, half_close=True))
        self._phase = Phase.LINGER
        self._discarded = len(self._intake.take_all())
        self._due(self._limits.linger_seconds)
        self._resume()

    def _close(self) -> None:
        """Close both sides in order; what was written to the client is still sent."""
        self._link.close()
        self._sockets.abort_unless_flushed(self._client)
        self._out.append(commands.CloseConnection(self._client))
        self._phase = Phase.DEAD
        self.deadline = math.inf
        self._intake.buffer = b""
        self._worker.registry.remove_layer(self)

    def _crash(self) -> None:
        """A fault of our own: nothing that was about to be sent is sent, and nobody is left hanging."""
        logger.exception("the HTTP layer failed; the connection is closed")
        self._out.clear()
        turn = self._turn
        if turn is None or turn.exchange.sent_head:
            if turn is not None:
                self._sockets.abort(self._client)
            self._abandon(INTERNAL.code)
            return
        self._send(refusal_response(INTERNAL, None, turn.exchange.request_id, close=True))
        turn.exchange.code = INTERNAL.code
        self._answered_by_us(turn, INTERNAL.status, True)
