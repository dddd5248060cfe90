"""How an admitted exchange runs: the request's body goes up, the reply comes down."""

from addon.http1.connection.exchange_state import ExchangeState
from addon.http1.connection.lifecycle import Endings, Phase
from addon.http1.decisions import Refuse
from addon.http1.messages.body_framing import BodyReader, ChunkedReader, Kind, chunk, last_chunk
from addon.http1.messages.forwarding import request_head, request_trailers, response_lines
from addon.http1.messages.head_parser import HeadError, ResponseHead
from addon.http1.messages.response import UpstreamResponse

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LARGE = Refuse(413, "body_too_large", "The body is larger than this proxy allows.")
_SILENT = Refuse(502, "upstream_closed", "The upstream closed the connection without an answer.")
_BROKE_OFF = Refuse(502, "upstream_closed", "The upstream broke off its answer.")
_HEAD_TOO_LARGE = Refuse(502, "upstream_head_too_large", "The head of the upstream's response is larger than allowed.")
_TOO_LARGE_CODES = ("headers_too_large", "uri_too_long")
NOT_HTTP = Refuse(502, "upstream_invalid", "The upstream sent something that is not HTTP.")


class Relaying(Endings):
    """Moves one exchange between client and upstream."""

    def _forward(self, turn: ExchangeState) -> None:
        """Send the head upstream, together with what is here of the body."""
        request, link = turn.request, self._link
        head = request_head(
            request,
            turn.peer,
            turn.admit,
            turn.exchange.request_id,
            self._worker.rules,
            expect=turn.expecting,
            websocket=turn.is_websocket,
        )
        turn.reply = UpstreamResponse(request.method, self._limits)
        turn.repeatable = link.used and turn.body is None and request.method in _REPEATABLE
        link.used = True
        turn.exchange.forwarded = self._now
        if turn.body is None:
            link.send(head)
            self._phase = Phase.SENT
            self._due(self._limits.first_byte_seconds)
            return
        self._phase = Phase.SENDING
        self._resume()
        self._upload(turn, turn.body, self._intake.take_all(), head)
        if self._phase is Phase.SENDING and link.server is not None:
            self._sockets.keep_readable(link.server)
            if turn.expecting:
                self._due(self._limits.expect_seconds)

    def _upload(self, turn: ExchangeState, body: BodyReader, data: bytes, head: bytes = b"") -> None:
        """Pass on a piece of the request's body."""
        exchange = turn.exchange
        payload = body.receive(data) if data else b""
        if payload:
            turn.expecting = False
            exchange.bytes_in += len(payload)
            self._policy.on_bytes(exchange, len(payload), 0)
            for recording in turn.recordings:
                recording.add_request(payload)
            limit = self._limits.body_bytes
            if limit and exchange.bytes_in > limit:
                self._fail(turn, _TOO_LARGE)
                return
        if isinstance(body, ChunkedReader):
            head += chunk(payload)
            if body.done:
                head += last_chunk(request_trailers(body.trailers, self._worker.rules))
        elif payload:
            head = head + payload if head else payload
        if head:
            self._link.send(head)
        if body.fault:
            self._fail(turn, Refuse(400, "bad_request", body.fault))
        elif body.done:
            self._intake.buffer, body.rest = body.rest, b""
            self._phase = Phase.SENT
            self._sockets.drop_readable()
            limits = self._limits
            self._due(limits.response_idle_seconds if exchange.sent_head else limits.first_byte_seconds)
        else:
            self._due(self._limits.body_idle_seconds)

    def _continue(self, turn: ExchangeState) -> None:
        """Tell a waiting client to send its body: the upstream said so, or took too long to say anything."""
        turn.expecting = False
        self._send(_CONTINUE)
        self._due(self._limits.body_idle_seconds)

    def _download(self, turn: ExchangeState, reply: UpstreamResponse, data: bytes) -> None:
        """Take bytes from the upstream."""
        turn.repeatable = False
        if reply.head is not None:
            self._relay(turn, reply, data)
            return
        reply.feed(data)
        try:
            while (head := reply.take_head()) is not None:
                if head.status >= 200:
                    self._begin_reply(turn, reply, head)
                    return
                if head.status == 101:
                    self._begin_tunnel(turn, reply, head)
                    return
                self._inform(turn, head)
        except HeadError as error:
            self._fail(turn, _HEAD_TOO_LARGE if error.code in _TOO_LARGE_CODES else NOT_HTTP)

    def _begin_tunnel(self, turn: ExchangeState, reply: UpstreamResponse, head: ResponseHead) -> None:
        """Switch protocols; the tunnel's own module does."""
        raise NotImplementedError

    def _inform(self, turn: ExchangeState, head: ResponseHead) -> None:
        """Pass on an informational reply to a client that can understand it."""
        if head.status == 100:
            if turn.expecting:
                self._continue(turn)
        elif not turn.request.http10:
            lines = response_lines(head, turn.request, turn.peer, self._worker.rules, drop_length=True, limited=False)
            self._send(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, lines))

    def _begin_reply(self, turn: ExchangeState, reply: UpstreamResponse, head: ResponseHead) -> None:
        """Send the reply's head to the client, together with what is here of its body."""
        request, exchange, ours = turn.request, turn.exchange, turn.admit.reply_lines
        # A reply that comes before the request is complete leaves a connection that nobody can use again.
        keep = self._phase is Phase.SENT and request.keep_alive and not self._worker.registry.draining
        reply.settle(head, request, keep)
        framing = b"Transfer-Encoding: chunked\r\n" if reply.chunked_out else b""
        if not reply.keep:
            framing += b"Connection: close\r\n"
        elif request.http10:
            framing += b"Connection: keep-alive\r\n"
        lines = response_lines(
            head, turn.request, turn.peer, self._worker.rules, drop_length=reply.drops_length, limited=bool(ours)
        )
        exchange.status, exchange.sent_head, exchange.first_byte = head.status, True, self._now
        turn.expecting = False
        for recording in turn.recordings:
            recording.response = head
        whole = b"HTTP/1.1 %d %b\r\n%b%b%b%bX-Request-ID: %b\r\n\r\n"
        parts = (head.status, head.reason, lines, framing, turn.cors, ours, exchange.request_id.encode())
        self._relay(turn, reply, reply.take_rest(), whole % parts)

    def _relay(self, turn: ExchangeState, reply: UpstreamResponse, data: bytes, head: bytes = b"") -> None:
        """Pass on a piece of the reply's body."""
        body, payload = reply.body, b""
        if body.done:
            body.rest = data
        elif data:
            payload = body.receive(data)
        if payload:
            turn.exchange.bytes_out += len(payload)
            self._policy.on_bytes(turn.exchange, 0, len(payload))
            for recording in turn.recordings:
                recording.add_response(payload)
        if reply.chunked_out:
            head += chunk(payload)
            if body.done:
                head += last_chunk(body.trailers)
        elif payload:
            head = head + payload if head else payload
        if head:
            self._send(head)
        if body.fault:
            self._fail(turn, Refuse(502, "upstream_invalid", body.fault))
        elif body.done:
            self._end_reply(reply)
        else:
            self._due(self._limits.response_idle_seconds)

    def _end_reply(self, reply: UpstreamResponse) -> None:
        """The reply is complete: keep what can be kept."""
        complete = self._phase is Phase.SENT
        if not (complete and reply.leaves_upstream_usable):
            self._link.close()
        self._end_exchange()
        if reply.keep and not (self._half_closed and not self._intake.buffer):
            self._rest()
        elif complete and not self._intake.buffer:
            self._close()
        else:
            self._linger()

    def _upstream_closed(self, turn: ExchangeState, reply: UpstreamResponse, lost: bool) -> None:
        """The upstream has ended its side in the middle of an exchange."""
        if reply.head is None:
            if turn.repeatable:
                self._reconnect(turn)
            else:
                self._fail(turn, _SILENT)
        elif reply.kind is Kind.UNTIL_CLOSE and not lost:
            reply.body.done = True
            self._relay(turn, reply, b"")
        else:
            self._fail(turn, _BROKE_OFF)

    def _reconnect(self, turn: ExchangeState) -> None:
        """Send the request again on a fresh connection, once."""
        raise NotImplementedError
