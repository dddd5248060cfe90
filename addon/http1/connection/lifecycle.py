"""How exchanges and their connection begin and end: complete, refused, failed, aborted, or by an internal error."""

import logging
import math
import secrets

from addon.http1.clients.registry import RegisteredLayer
from addon.http1.connection.client_connection import Mode
from addon.http1.connection.exchange_state import ExchangeError, ExchangeState, Phase
from addon.http1.connection.parts import ConnectionParts
from addon.http1.decisions import Local, Refuse
from addon.http1.exchange import Exchange
from addon.http1.observe.recording import begin_recordings
from addon.http1.pages.error_responses import local_response, refusal_response
from addon.http1.upstream_pool.connection import State

logger = logging.getLogger(__name__)

INTERNAL = Refuse(500, "internal", "Something went wrong on our side.")


class Lifecycle:
    """Begins and ends the exchanges of one client connection, and closes the connection."""

    def __init__(self, layer: RegisteredLayer, parts: ConnectionParts, address: str) -> None:
        self._layer = layer
        self._worker = parts.worker
        self._limits = parts.worker.limits
        self._client = parts.client
        self._upstream = parts.upstream
        self._deadlines = parts.deadlines
        self._address = address
        self._id_prefix = secrets.token_hex(8)
        self._count = 0
        self._discarded = 0
        self.current: ExchangeState | None = None

    def begin(self) -> ExchangeState:
        """Begin an exchange."""
        self._count += 1
        now, total = self._deadlines.now, self._limits.total_seconds
        exchange = Exchange(f"{self._id_prefix}-{self._count:x}", now)
        exchange.client_address = self._address
        self._deadlines.total = now + total if total else math.inf
        self.current = state = ExchangeState(exchange)
        return state

    def refuse(self, state: ExchangeState, refusal: Refuse, *, close: bool = False) -> None:
        """Send an error response at once; then serve the next request, or linger so that the response is not lost."""
        exchange = state.exchange
        is_complete = self._is_complete(state)
        close = close or not is_complete or self._must_close(exchange)
        response = refusal_response(
            refusal,
            exchange.request,
            exchange.request_id,
            close=close,
            portal_url=self._worker.rules.portal_url,
            lines=state.cors_lines + (exchange.admission.reply_lines if exchange.admission else b""),
        )
        exchange.code = refusal.code
        self._respond(state, response, refusal.status, close=close)

    def answer(self, state: ExchangeState, local: Local) -> None:
        """Send a response that the policy has made itself."""
        is_complete = self._is_complete(state)
        close = not is_complete or self._must_close(state.exchange)
        response = local_response(local, state.request, state.exchange.request_id, close=close, lines=state.cors_lines)
        self._respond(state, response, local.status, close=close)

    def fail(self, error: ExchangeError) -> None:
        """End an exchange that cannot be completed: with an error response, or by breaking off the one under way."""
        state = self.current
        if state is None:
            raise error
        self._upstream.close("aborted")
        if not state.exchange.sent_head:
            self.refuse(state, error.refusal, close=error.close)
            return
        # A response that is delimited by the end of the connection would look complete after an orderly end.
        if state.response is not None and state.response.until_close:
            self._client.abort()
        self.abandon(error.refusal.code)

    def abort(self, refusal: Refuse) -> None:
        """End everything now: with an error response if none has begun, else by resetting both connections."""
        state = self.current
        if state is None:
            if self._client.mode is Mode.OPEN:
                self.close()
        elif not state.exchange.sent_head:
            self._upstream.close("aborted")
            self.refuse(state, refusal, close=True)
        else:
            self._upstream.close("aborted", is_reset=True)
            self._client.abort()
            self.abandon(refusal.code)

    def abandon(self, code: str) -> None:
        """End the exchange under way as it is, and close both connections."""
        if self.current is not None:
            exchange = self.current.exchange
            exchange.code = exchange.code or code
            self._end_exchange()
        self.close()

    def complete(self, state: ExchangeState) -> None:
        """The response is complete: keep the connections that can be used again."""
        response, client = state.response, self._client
        is_complete = state.phase is Phase.REQUEST_SENT
        if response is None or not (is_complete and response.leaves_upstream_usable):
            self._upstream.close("unusable")
        else:
            self._upstream.release()
        self._end_exchange()
        if response is not None and response.keep and not (client.has_ended and not client.received.buffer):
            self._await_request()
        elif is_complete and not client.received.buffer:
            self.close()
        else:
            self._linger()

    def bind(self, token_id: str) -> None:
        """Register the connection as used by this token, whose revocation aborts it."""
        self._worker.registry.bind(self._layer, token_id)

    def record(self, state: ExchangeState) -> None:
        """Ask the observers, once the token is known, whether they record the exchange."""
        if self._worker.observers and not state.recordings:
            state.recordings = begin_recordings(self._worker.observers, state.exchange)

    def discard(self, data: bytes) -> None:
        """Drop bytes that come after the last response; close when there are too many."""
        self._discarded += len(data)
        if self._discarded > self._limits.linger_bytes:
            self.close()

    def drain(self) -> None:
        """Close an idle connection soon; a request that is on its way is still served, as the last one."""
        deadlines = self._deadlines
        if self.current is None and self._client.mode is Mode.OPEN and not self._client.received.buffer:
            deadlines.idle_until = min(deadlines.idle_until, deadlines.now + self._limits.drain_idle_seconds)
            deadlines.set(deadlines.idle_until - deadlines.now)

    def close_idle(self) -> None:
        """A deadline has passed without an exchange: close a bound upstream connection first, then the client's."""
        deadlines = self._deadlines
        if self._client.mode is Mode.OPEN and deadlines.now < deadlines.idle_until:
            self._upstream.close("idle")
            deadlines.set(deadlines.idle_until - deadlines.now)
        else:
            self.close()

    def close(self) -> None:
        """Close both connections; what was written to the client is still sent."""
        self._upstream.close("aborted")
        self._client.close()
        self._deadlines.next = math.inf
        self._worker.registry.remove_layer(self._layer)

    def crash(self) -> None:
        """End the connection after an internal error: 500 if no response has begun, else a reset."""
        state = self.current
        if state is None or state.exchange.sent_head:
            if state is not None:
                self._client.abort()
            self.abandon(INTERNAL.code)
            return
        state.exchange.code = INTERNAL.code
        response = refusal_response(INTERNAL, None, state.exchange.request_id, close=True)
        self._respond(state, response, INTERNAL.status, close=True)

    def _is_complete(self, state: ExchangeState) -> bool:
        """Return whether the whole request was received; the received part of its body is discarded."""
        body, received = state.body, self._client.received
        if body is None or body.done:
            return True
        if state.phase is Phase.SENDING_REQUEST or body.fault:
            return False
        body.receive(received.take_all())
        received.buffer = body.rest
        return body.done and body.fault is None

    def _must_close(self, exchange: Exchange) -> bool:
        """Return whether a response that is not the upstream's ends the connection.

        Pipelined requests after one that was not admitted are dropped: thousands of refusals at once would hold up
        the other connections.
        """
        request = exchange.request
        if request is None or not request.keep_alive or (exchange.admission is None and self._client.received.buffer):
            return True
        return self._client.has_ended or self._worker.registry.draining

    def _respond(self, state: ExchangeState, response: bytes, status: int, *, close: bool) -> None:
        self._client.send(response)
        state.exchange.status, state.exchange.sent_head = status, True
        self.record(state)
        self._end_exchange()
        if close:
            self._linger()
        else:
            self._await_request()

    def _end_exchange(self) -> None:
        """Report the end of the exchange; an error in the policy does not harm the connection."""
        state, self.current = self.current, None
        self._deadlines.total = math.inf
        if state is None:
            return
        exchange = state.exchange
        exchange.ended = self._deadlines.now
        exchange.is_open = False
        if exchange.tunnel:
            self.record(state)  # For observers that were added while it was open.
        try:
            self._worker.policy.on_close(exchange)
            for recording in state.recordings:
                recording.observer.end(exchange, recording)
        except Exception:
            logger.exception("could not report the end of an exchange")

    def _await_request(self) -> None:
        limits, deadlines = self._limits, self._deadlines
        deadlines.idle_until = deadlines.now + limits.keep_alive_seconds
        self._upstream.release()  # Of a request that was refused before it was sent.
        seconds = limits.keep_alive_seconds
        if self._upstream.state is State.OPEN:  # It is bound to this client.
            seconds = min(seconds, limits.upstream_idle_seconds)
        deadlines.set(seconds)
        self._client.resume()

    def _linger(self) -> None:
        """Send nothing more and discard what comes for a bounded time: a reset could destroy the response."""
        client = self._client
        self._upstream.close("aborted")
        client.abort_unless_flushed()
        if client.has_ended or not client.is_writable:
            self.close()
            return
        client.half_close()
        client.mode = Mode.LINGERING
        self._discarded = len(client.received.take_all())
        self._deadlines.set(self._limits.linger_seconds)
        client.resume()
