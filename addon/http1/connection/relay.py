"""Relays an admitted exchange: the request to the upstream, the response to the client, bodies piece by piece."""

from addon.http1.connection.exchange_state import ExchangeError, ExchangeState, Phase
from addon.http1.connection.parts import ConnectionParts
from addon.http1.connection.websocket import WebSocketTunnel
from addon.http1.decisions import Refuse
from addon.http1.messages.body_framing import BodyReader, ChunkedReader, Kind, chunk, last_chunk
from addon.http1.messages.forwarding import request_head, request_trailers, response_lines
from addon.http1.messages.head_parser import HeadError
from addon.http1.messages.heads import RequestHead, ResponseHead
from addon.http1.messages.response import UpstreamResponse

# RFC 9110, 9.2.2: a proxy may repeat idempotent requests only.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LARGE = Refuse(413, "body_too_large", "The body is larger than this proxy allows.")
_NO_RESPONSE = Refuse(502, "upstream_closed", "The upstream closed the connection without an answer.")
_INCOMPLETE = Refuse(502, "upstream_closed", "The upstream broke off its answer.")
_HEAD_TOO_LARGE = Refuse(502, "upstream_head_too_large", "The head of the upstream's response is larger than allowed.")
_TOO_LARGE_CODES = ("headers_too_large", "uri_too_long")
_NOT_HTTP = Refuse(502, "upstream_invalid", "The upstream sent something that is not HTTP.")

# Schemes that authenticate the connection instead of each request (RFC 4559, section 6, and NTLM).
_CONNECTION_SCHEMES = (b"ntlm", b"negotiate")


def is_connection_bound(request: RequestHead, response: ResponseHead) -> bool:
    """Return whether the upstream authenticates the connection instead of each request: no other client may use it."""
    sent = request.headers.first.get(b"authorization", b"")
    if sent[:9].lower().startswith(_CONNECTION_SCHEMES):
        return True
    if response.status != 401:
        return False
    return any(
        challenge.strip().lower().startswith(_CONNECTION_SCHEMES)
        for line in response.headers.all(b"www-authenticate")
        for challenge in line.split(b",")
    )


class Relay:
    """Moves the bytes of one connection's exchanges; raises ExchangeError where one cannot be completed."""

    def __init__(self, parts: ConnectionParts, tunnel: WebSocketTunnel) -> None:
        self._worker = parts.worker
        self._limits = parts.worker.limits
        self._policy = parts.worker.policy
        self._client = parts.client
        self._upstream = parts.upstream
        self._deadlines = parts.deadlines
        self.tunnel = tunnel

    def send_request(self, state: ExchangeState) -> None:
        """Send the head upstream, with the part of the body that was received. Raises ExchangeError."""
        request, upstream, body = state.request, self._upstream, state.body
        head = request_head(
            request,
            state.peer,
            state.admit,
            state.exchange.request_id,
            self._worker.rules,
            expect=state.expects_continue,
            websocket=state.is_websocket,
        )
        state.response = UpstreamResponse(request.method, self._limits, self._worker.response_cache)
        state.is_retryable = upstream.is_reused and body is None and request.method in _IDEMPOTENT
        state.exchange.forwarded = self._deadlines.now
        if body is None:
            upstream.send(head)
            state.phase = Phase.REQUEST_SENT
            self._deadlines.set(self._limits.first_byte_seconds)
            return
        state.phase = Phase.SENDING_REQUEST
        self._client.resume()
        self.upload(state, body, self._client.received.take_all(), head)
        if not body.done and state.expects_continue:
            self._deadlines.set(self._limits.expect_seconds)

    def upload(self, state: ExchangeState, body: BodyReader, data: bytes, head: bytes = b"") -> None:
        """Send a piece of the request body upstream. Raises ExchangeError."""
        exchange = state.exchange
        payload = body.receive(data) if data else b""
        if payload:
            state.expects_continue = False
            exchange.bytes_in += len(payload)
            self._policy.on_bytes(exchange, len(payload), 0)
            for recording in state.recordings:
                recording.add_request(payload)
            limit = self._limits.body_bytes
            if limit and exchange.bytes_in > limit:
                raise ExchangeError(_TOO_LARGE)
        if isinstance(body, ChunkedReader):
            head += chunk(payload)
            if body.done:
                head += last_chunk(request_trailers(body.trailers, self._worker.rules))
        elif payload:
            head = head + payload if head else payload
        if head:
            self._upstream.send(head)
        if body.fault:
            raise ExchangeError(Refuse(400, "bad_request", body.fault))
        if body.done:
            self._client.received.buffer, body.rest = body.rest, b""
            state.phase = Phase.REQUEST_SENT
            limits = self._limits
            self._deadlines.set(limits.response_idle_seconds if exchange.sent_head else limits.first_byte_seconds)
        else:
            self._deadlines.set(self._limits.body_idle_seconds)

    def send_continue(self, state: ExchangeState) -> None:
        """Send 100 Continue: the upstream has sent it or takes too long, or the policy reads the body."""
        state.expects_continue = False
        self._client.send(_CONTINUE)
        self._deadlines.set(self._limits.body_idle_seconds)

    def download(self, state: ExchangeState, response: UpstreamResponse, data: bytes) -> bool:
        """Forward bytes from the upstream; return whether the response is complete. Raises ExchangeError."""
        state.is_retryable = False
        if response.head is not None:
            return self._send_body(state, response, data)
        response.feed(data)
        try:
            while (head := response.take_head()) is not None:
                if head.status >= 200:
                    return self._begin_response(state, response, head)
                if head.status == 101:
                    self.tunnel.begin(state, response, head)
                    return False
                self._send_informational(state, head)
        except HeadError as error:
            raise ExchangeError(_HEAD_TOO_LARGE if error.code in _TOO_LARGE_CODES else _NOT_HTTP) from error
        return False

    def end_response(self, state: ExchangeState, response: UpstreamResponse, *, is_lost: bool) -> None:
        """Complete a response whose end is the end of the connection. Raises ExchangeError for any other."""
        if response.head is None:
            raise ExchangeError(_NO_RESPONSE)
        if response.kind is not Kind.UNTIL_CLOSE or is_lost:
            raise ExchangeError(_INCOMPLETE)
        response.body.done = True
        self._send_body(state, response, b"")

    def _send_informational(self, state: ExchangeState, head: ResponseHead) -> None:
        """Forward an informational (1xx) response to a client that understands it."""
        if head.status == 100:
            if state.expects_continue:
                self.send_continue(state)
        elif not state.request.http10:
            rules = self._worker.rules
            lines = response_lines(head, state.request, state.peer, rules, drop_length=True, limited=False)
            self._client.send(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, lines))

    def _begin_response(self, state: ExchangeState, response: UpstreamResponse, head: ResponseHead) -> bool:
        """Send the response head to the client, with the part of the body that was received."""
        request, exchange, reply_lines = state.request, state.exchange, state.admit.reply_lines
        if is_connection_bound(request, head):
            self._upstream.bind()
        # After a response that precedes the end of its request, the client's connection cannot be used again.
        is_complete = state.phase is Phase.REQUEST_SENT
        response.settle(head, request, is_complete and request.keep_alive and not self._worker.registry.draining)
        framing = b"Transfer-Encoding: chunked\r\n" if response.chunked_out else b""
        if not response.keep:
            framing += b"Connection: close\r\n"
        elif request.http10:
            framing += b"Connection: keep-alive\r\n"
        lines = response_lines(
            head, request, state.peer, self._worker.rules, drop_length=response.drops_length, limited=bool(reply_lines)
        )
        exchange.status, exchange.sent_head, exchange.first_byte = head.status, True, self._deadlines.now
        state.expects_continue = False
        for recording in state.recordings:
            recording.response = head
        template = b"HTTP/1.1 %d %b\r\n%b%b%b%bX-Request-ID: %b\r\n\r\n"
        parts = (head.status, head.reason, lines, framing, state.cors_lines, reply_lines, exchange.request_id.encode())
        return self._send_body(state, response, response.take_rest(), template % parts)

    def _send_body(self, state: ExchangeState, response: UpstreamResponse, data: bytes, head: bytes = b"") -> bool:
        """Send a piece of the response body to the client; return whether it was the last."""
        body, payload = response.body, b""
        if body.done:
            body.rest = data
        elif data:
            payload = body.receive(data)
        if payload:
            state.exchange.bytes_out += len(payload)
            self._policy.on_bytes(state.exchange, 0, len(payload))
            for recording in state.recordings:
                recording.add_response(payload)
        if response.chunked_out:
            head += chunk(payload)
            if body.done:
                head += last_chunk(body.trailers)
        elif payload:
            head = head + payload if head else payload
        if head:
            self._client.send(head)
        if body.fault:
            raise ExchangeError(Refuse(502, "upstream_invalid", body.fault))
        if not body.done:
            self._deadlines.set(self._limits.response_idle_seconds)
        return body.done
