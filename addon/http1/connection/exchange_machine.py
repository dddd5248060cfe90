"""The state machine of an exchange: from a request's first byte through admission, connection and relay to its end."""

import math

from mitmproxy.proxy import commands

from addon.http1.connection.admission import Admission
from addon.http1.connection.client_connection import Mode
from addon.http1.connection.exchange_state import ExchangeError, ExchangeState, Phase
from addon.http1.connection.lifecycle import Lifecycle
from addon.http1.connection.parts import ConnectionParts
from addon.http1.connection.relay import Relay
from addon.http1.connection.request_reader import RequestReader
from addon.http1.connection.upstream_connector import UpstreamConnector
from addon.http1.decisions import Refuse
from addon.http1.messages.head_parser import HeadError
from addon.http1.upstream_pool.connection import State, UpstreamConnection

_OVERLOADED = Refuse(503, "overloaded", "There are too many connections.", (("Retry-After", "5"),))
_BUSY = Refuse(503, "unavailable", "The service is busy; try again in a moment.", (("Retry-After", "1"),))
_TOO_SLOW = Refuse(408, "request_timeout", "The request did not come in time.")
_TOO_MUCH_AHEAD = Refuse(400, "bad_request", "Too much was sent before its turn.")
_TOO_LONG = Refuse(504, "upstream_timeout", "The exchange took too long.")
_NO_RESPONSE = Refuse(504, "upstream_timeout", "The upstream did not answer in time.")


class ExchangeMachine:
    """Takes the requests of one client connection, one at a time, through the phases of `Phase`.

    An ExchangeError that a method raises ends the exchange (`Lifecycle.fail`).
    """

    def __init__(
        self,
        parts: ConnectionParts,
        lifecycle: Lifecycle,
        reader: RequestReader,
        admission: Admission,
        relay: Relay,
        *,
        is_overloaded: bool,
    ) -> None:
        self._worker = parts.worker
        self._limits = parts.worker.limits
        self._client = parts.client
        self._upstream = parts.upstream
        self._deadlines = parts.deadlines
        self._connector = UpstreamConnector(parts.upstream, parts.worker.pool, parts.deadlines, parts.worker.limits)
        self._lifecycle = lifecycle
        self._reader = reader
        self._admission = admission
        self._relay = relay
        self._tunnel = relay.tunnel
        self._is_overloaded = is_overloaded

    def read_requests(self) -> None:
        """Begin as many exchanges as were received and can be ended or forwarded now."""
        client, lifecycle = self._client, self._lifecycle
        while lifecycle.current is None and client.mode is Mode.OPEN and client.received.buffer:
            try:
                if not self._read_request():
                    break
            except ExchangeError as error:
                lifecycle.fail(error)
        state = lifecycle.current
        if client.has_ended and client.mode is Mode.OPEN and (state is None or state.phase is Phase.SENDING_REQUEST):
            lifecycle.abandon("client_closed")

    def _read_request(self) -> bool:
        """Begin an exchange if a whole request head was received; return whether one was."""
        lifecycle, state = self._lifecycle, None
        try:
            request = self._reader.read()
            if request is None:
                self._limit_head_time()
                return False
            state = lifecycle.begin()
            state.request = state.exchange.request = request
            cors = self._worker.rules.cors
            if cors is not None:
                state.cors_lines = cors.lines(request)
            if self._is_overloaded:
                lifecycle.refuse(state, _OVERLOADED, close=True)
                return True
            self._reader.check(state)
        except HeadError as error:
            refusal = Refuse(error.status, error.code, str(error))
            lifecycle.refuse(state or lifecycle.begin(), refusal, close=True)
            return True
        if self._admission.admit(state):
            self._connect(state)
        return True

    def _limit_head_time(self) -> None:
        """Limit the time for the head as a whole, however often a piece of it comes."""
        deadlines, seconds = self._deadlines, self._limits.head_seconds
        if deadlines.total == math.inf and self._client.received.buffer:
            deadlines.total = deadlines.now + seconds
            deadlines.set(seconds)

    def hook_completed(self, hook: commands.StartHook) -> None:
        """Go on after a policy hook."""
        state = self._lifecycle.current
        if state is not None and self._admission.hook_completed(state, hook):
            self._connect(state)

    def _connect(self, state: ExchangeState) -> None:
        """Use a kept connection of this user, or open one."""
        if self._upstream.take(state.admit.upstream, state.admit.user_id):
            self._connected(state)
        else:
            self._connector.start(state.admit)

    def connection_opened(self, connection: UpstreamConnection) -> None:
        """Go on with a connection that is open; one that nobody waits for any more goes to the pool."""
        state = self._lifecycle.current
        self._connector.succeed(connection)
        if state is None or state.phase is not Phase.WAITING or not self._upstream.adopt(connection):
            self._worker.pool.release(connection)
        else:
            self._connected(state)

    def connection_progressed(self) -> None:
        """Give the next step of connecting its own time."""
        self._connector.progress()

    def connection_failed(self) -> None:
        """Try the next address. Raises ExchangeError when there is none."""
        state = self._lifecycle.current
        if state is not None and state.phase is Phase.WAITING:
            self._connector.fail(state.admit)

    def _connected(self, state: ExchangeState) -> None:
        """Forward the request; a token is activated only now, when the upstream is known to be reachable."""
        state.exchange.address = self._upstream.address
        if state.admit.needs_activation and not state.is_activated:
            self._admission.activate(state)
        else:
            self._relay.send_request(state)

    def client_data(self, state: ExchangeState, data: bytes) -> None:
        """Take bytes that the client sends during an exchange."""
        if state.phase is Phase.SENDING_REQUEST and state.body is not None:
            self._relay.upload(state, state.body, data)
        elif state.phase is Phase.TUNNEL:
            self._tunnel.send_to_upstream(state, data)
        else:
            self._buffer(state, data)

    def _buffer(self, state: ExchangeState, data: bytes) -> None:
        """Keep what was sent ahead, and stop reading from the client above a limit."""
        received = self._client.received
        received.buffer += data
        if state.collect_limit and state.body is not None:
            self._admission.collect(state, state.body)
        elif len(received.buffer) > self._limits.held_hard_bytes:
            raise ExchangeError(_TOO_MUCH_AHEAD, close=True)
        elif len(received.buffer) > self._limits.held_bytes:
            self._client.pause()

    def client_ended(self) -> None:
        """The client has ended its side and thereby canceled its request, unless the settings allow half-closing.

        TCP cannot tell the two apart; nginx (proxy_ignore_client_abort off) and HAProxy (abortonclose) decide so too.
        """
        state, client = self._lifecycle.current, self._client
        client.has_ended = True
        is_lost = client.is_lost or not self._limits.half_close
        if state is None:
            if is_lost or client.mode is Mode.LINGERING:
                self._lifecycle.close()
        elif state.phase is Phase.TUNNEL:
            state.client_ended = True
            self._end_tunnel_side(state, is_lost=is_lost)
        elif is_lost or state.collect_limit:
            self._lifecycle.abandon("client_closed")

    def client_closed(self, *, is_lost: bool) -> None:
        """The client's FIN was received, possibly behind bytes that are not being read."""
        state = self._lifecycle.current
        if state is None or (self._limits.half_close and not is_lost):
            return
        if state.phase is Phase.TUNNEL and not is_lost:
            self._tunnel.limit_remaining_time()
        else:
            self._lifecycle.abandon("client_closed")

    def upstream_data(self, data: bytes) -> None:
        """Take bytes from the upstream."""
        state = self._lifecycle.current
        if state is None or state.response is None:
            self._upstream.close("surplus")  # Bytes that belong to no request: it cannot be used again.
        elif state.phase is Phase.TUNNEL:
            self._tunnel.send_to_client(state, data)
        elif self._relay.download(state, state.response, data):
            self._lifecycle.complete(state)

    def upstream_ended(self, *, is_lost: bool) -> None:
        """The upstream has closed its side of the connection."""
        state = self._lifecycle.current
        if state is not None and state.phase is Phase.TUNNEL:
            state.upstream_ended = True
            self._end_tunnel_side(state, is_lost=is_lost)
            return
        self._upstream.close("upstream")
        if state is None or state.response is None:
            return  # A connection that waits for its request; another one is opened when it is needed.
        if state.is_retryable and state.response.head is None:
            state.phase, state.response, state.is_retryable = Phase.WAITING, None, False
            self._connector.start(state.admit)
            return
        self._relay.end_response(state, state.response, is_lost=is_lost)
        self._lifecycle.complete(state)

    def _end_tunnel_side(self, state: ExchangeState, *, is_lost: bool) -> None:
        if self._tunnel.end_side(state, is_lost=is_lost):
            self._lifecycle.abandon("")

    def deadline_passed(self) -> None:
        """End what has taken too long. Raises ExchangeError."""
        state, lifecycle = self._lifecycle.current, self._lifecycle
        if state is None:
            if self._client.mode is Mode.OPEN and self._client.received.buffer:
                lifecycle.refuse(lifecycle.begin(), _TOO_SLOW, close=True)
            else:
                lifecycle.close_idle()
        elif state.phase is Phase.TUNNEL:
            lifecycle.abandon("idle_timeout")
        elif self._deadlines.now >= self._deadlines.total:
            lifecycle.abort(_TOO_LONG)
        elif state.phase is Phase.WAITING:
            self._waited_too_long(state)
        elif state.expects_continue:
            self._relay.send_continue(state)
        elif state.phase is Phase.SENDING_REQUEST and not self._upstream.has_unsent_bytes:
            raise ExchangeError(_TOO_SLOW)
        elif self._client.has_unsent_bytes:
            self._client.abort()
            lifecycle.abandon("client_timeout")
        else:
            raise ExchangeError(_NO_RESPONSE)

    def _waited_too_long(self, state: ExchangeState) -> None:
        """A request has waited too long for the upstream, for its own body, or for the policy's stores."""
        if self._upstream.state in (State.QUEUED, State.CONNECTING, State.HANDSHAKE):
            self._connector.time_out(state.admit)
        else:
            raise ExchangeError(_TOO_SLOW if state.collect_limit else _BUSY, close=True)
