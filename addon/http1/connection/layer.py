"""The HTTP/1.1 layer: one client connection, one exchange at a time, no I/O.

No command blocks the layer (each carries the layer as its `blocking` mark, so that the layers above do not
wait either): whatever it is waiting for, a deadline, a cut or a client that leaves is obeyed at once.
"""

import logging

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator

from addon.http1.connection.events import Abort, ClientClosed, Drain, Tick
from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.connection.lifecycle import Phase
from addon.http1.connection.requests import TOO_SLOW, Admitting
from addon.http1.connection.upstream_connection import State
from addon.http1.decisions import Refuse

logger = logging.getLogger(__name__)

_AHEAD = Refuse(400, "bad_request", "Too much was sent before its turn.")
_TOO_LONG = Refuse(504, "upstream_timeout", "The exchange took too long.")
_NO_ANSWER = Refuse(504, "upstream_timeout", "The upstream did not answer in time.")


class Http1Layer(Admitting):
    """Takes events, yields commands; see `endings.Phase` for what happens in between."""

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        out = self._out
        out.clear()
        if self._phase is Phase.DEAD:
            return
        self._now = self._worker.clock()
        try:
            self._dispatch(event)
            if self._phase is Phase.IDLE or self._half_closed:
                self._pump()
        except Exception:  # noqa: BLE001 - whatever went wrong, the connection ends and nothing is forwarded
            self._crash_safely()
        yield from out

    def _crash_safely(self) -> None:
        """Close the connection even if reporting the fault fails as well."""
        try:
            self._crash()
        except Exception:
            logger.exception("the HTTP layer failed twice")
            self._phase = Phase.DEAD
            self._out[:] = [commands.CloseConnection(self._client)]

    def _dispatch(self, event: events.Event) -> None:
        if isinstance(event, events.DataReceived):  # First, as nearly all events are.
            if event.connection is self._client:
                self._receive(event.data)
            else:
                self._from_upstream(event)
        else:
            self._dispatch_rare(event)

    def _dispatch_rare(self, event: events.Event) -> None:
        if isinstance(event, events.ConnectionClosed) and event.connection is self._client:
            self._client_closed()
        elif isinstance(event, Tick):
            if self._now >= self.deadline:
                self._tick()
        elif isinstance(event, Abort):
            self._cut(event.refusal)
        elif isinstance(event, ClientClosed):
            self._client_left(event.is_lost)
        elif isinstance(event, Drain):
            if self._phase is Phase.IDLE and not self._intake.buffer:
                # A request may be on its way: it is served, and told that it was the last.
                self._idle_until = min(self._idle_until, self._now + self._limits.drain_idle_seconds)
                self._due(self._idle_until - self._now)
        else:
            if isinstance(event, events.HookCompleted):
                self._hook_ran(event.command)
            elif isinstance(event, events.ConnectionClosed):
                self._take_unread(event)
            self._from_upstream(event)
            if isinstance(event, events.OpenConnectionCompleted) and self._link.state is State.CONNECTING:
                self._due(self._limits.tls_seconds)  # TCP stands, TLS is under way.

    def _from_upstream(self, event: events.Event) -> None:
        for seen in self._link.translate(event):
            self._upstream_event(seen)

    def _take_unread(self, event: events.ConnectionClosed) -> None:
        """A response that came before the upstream reset the connection counts (RFC 9112, 9.5 and 9.6).

        A server that refuses an upload answers and closes; what is still being sent to it then meets a reset.
        """
        server, turn = event.connection, self._turn
        if turn is None or turn.reply is None or server is not self._link.server or not self._sockets.is_lost(server):
            return
        data = self._sockets.take_unread(server)
        for seen in self._link.translate(events.DataReceived(server, data)) if data else ():
            self._upstream_event(seen)

    def _upstream_event(self, event: events.Event) -> None:
        turn = self._turn
        if isinstance(event, events.DataReceived):
            if self._phase is Phase.TUNNEL and turn is not None:
                self._tunnel_down(turn, event.data)
            elif turn is not None and turn.reply is not None:
                self._download(turn, turn.reply, event.data)
            else:
                self._link.close()  # Nobody asked: whatever it is, the connection cannot be trusted again.
        elif isinstance(event, events.ConnectionClosed):
            lost = self._sockets.is_lost(event.connection)
            if self._phase is Phase.TUNNEL and turn is not None:
                turn.upstream_ended = True
                self._tunnel_side_ended(turn, lost)
                return
            self._link.close()
            # Without a reply under way it was a kept connection, and another will be made when it is needed.
            if turn is not None and turn.reply is not None:
                self._upstream_closed(turn, turn.reply, lost)
        elif isinstance(event, events.OpenConnectionCompleted):
            self._connect_ended(event)

    def _receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        phase, turn = self._phase, self._turn
        if phase is Phase.IDLE:
            self._intake.buffer += data
        elif phase is Phase.LINGER:
            self._discarded += len(data)
            if self._discarded > self._limits.linger_bytes:
                self._close()
        elif turn is None:
            raise RuntimeError("an exchange without its turn")
        elif phase is Phase.SENDING and turn.body is not None:
            self._upload(turn, turn.body, data)
        elif phase is Phase.TUNNEL:
            self._tunnel_up(turn, data)
        else:
            self._hold(turn, data)

    def _hold(self, turn: ExchangeState, data: bytes) -> None:
        """Keep what came before its turn, and stop reading when it is much."""
        intake = self._intake
        intake.buffer += data
        if turn.collecting and turn.body is not None:
            self._collect(turn, turn.body)
        elif len(intake.buffer) > self._limits.held_hard_bytes:
            self._fail(turn, _AHEAD, close=True)
        elif len(intake.buffer) > self._limits.held_bytes:
            self._is_paused = False  # The stream reader may have resumed by itself.
            self._pause()

    def _client_closed(self) -> None:
        """The client has ended its side: it has left, unless the settings say that it may still want its response.

        TCP cannot tell the two apart; nginx (proxy_ignore_client_abort off) and HAProxy (abortonclose) decide so too.
        """
        turn = self._turn
        self._half_closed = True
        lost = not self._client.state & ConnectionState.CAN_WRITE or self._sockets.is_lost(self._client)
        lost = lost or not self._limits.half_close
        if turn is None:
            if lost or self._phase is Phase.LINGER:
                self._close()
        elif self._phase is Phase.TUNNEL:
            turn.client_ended = True
            self._tunnel_side_ended(turn, lost)
        elif lost or turn.collecting:
            self._abandon("client_closed")

    def _client_left(self, is_lost: bool) -> None:
        """The client's FIN is here, and may stand behind bytes that nobody reads at present."""
        if self._turn is None or (self._limits.half_close and not is_lost):
            return
        if self._phase is Phase.TUNNEL and not is_lost:
            self._leave_tunnel()
        else:
            self._abandon("client_closed")

    def _tick(self) -> None:
        """A deadline has passed: find out whose."""
        phase, turn = self._phase, self._turn
        if turn is None:
            if phase is Phase.IDLE and self._intake.buffer:
                self._refuse(self._begin_turn(), TOO_SLOW, close=True)
            elif phase is Phase.IDLE and self._now < self._idle_until:
                self._link.close()
                self._due(self._idle_until - self._now)
            else:
                self._close()
        elif phase is Phase.TUNNEL:
            self._abandon("idle_timeout")
        elif self._now >= self._total:
            self._cut(_TOO_LONG)
        elif phase is Phase.HELD:
            self._waited_too_long(turn)
        elif turn.expecting:
            self._continue(turn)
        elif phase is Phase.SENDING and not self._upstream_is_slow():
            self._fail(turn, TOO_SLOW)
        elif self._sockets.unsent_bytes(self._client):
            self._sockets.abort(self._client)
            self._abandon("client_timeout")
        else:
            self._fail(turn, _NO_ANSWER)

    def _upstream_is_slow(self) -> bool:
        server = self._link.server
        return server is not None and self._sockets.unsent_bytes(server) > 0

    def lost(self) -> None:
        """The client's connection is gone for good, and no further event will come."""
        if self._phase is not Phase.DEAD:
            self._now = self._worker.clock()
            self._out.clear()
            self._abandon("client_closed")
