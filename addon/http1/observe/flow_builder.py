"""Builds a redacted mitmproxy flow from an exchange that has ended, or from a tunnel."""

import time

from mitmproxy import http
from mitmproxy.connection import Client, Server
from mitmproxy.flow import Error
from mitmproxy.websocket import WebSocketData

from addon.http1.exchange import Exchange
from addon.http1.messages.heads import Headers, RequestHead
from addon.http1.observe.recording import Recording
from addon.http1.observe.redaction import Redactor


def make_flow(exchange: Exchange, request: RequestHead, recording: Recording, redactor: Redactor) -> http.HTTPFlow:
    """Build a flow that shares nothing with the exchange and contains no secret; its comment says what is not shown."""
    # The exchange's times are monotonic, a flow's are wall clock.
    shift = time.time() - time.monotonic()
    host, port = exchange.address or ("", 0)
    ended = exchange.ended + shift if exchange.ended else None
    client = Client(peername=(exchange.client_address, 0), sockname=("", 0), timestamp_start=exchange.started + shift)
    flow = http.HTTPFlow(client, Server(address=(host, port)))
    # A tunnel is shown when it opens and when it ends; the second flow replaces the first.
    flow.id = exchange.request_id
    response = recording.response
    sent, received, flow.comment = _bodies(exchange, request, recording, redactor)
    flow.request = http.Request(
        host=host,
        port=port,
        method=request.method.encode(),
        scheme=b"http",
        authority=b"",
        path=redactor.target(request.target),
        http_version=b"HTTP/1.0" if request.http10 else b"HTTP/1.1",
        headers=_headers(request.headers, redactor),
        content=sent,
        trailers=None,
        timestamp_start=exchange.started + shift,
        timestamp_end=exchange.started + shift,
    )
    if exchange.status:
        flow.response = http.Response(
            http_version=b"HTTP/1.1",
            status_code=exchange.status,
            reason=redactor.text(response.reason) if response else b"",
            headers=_headers(response.headers, redactor) if response else http.Headers(),
            content=received,
            trailers=None,
            timestamp_start=(exchange.first_byte or exchange.ended) + shift,
            timestamp_end=ended,
        )
    if exchange.code and (flow.response is None or response is not None):
        flow.error = Error(exchange.code)
    if exchange.tunnel:
        flow.websocket = WebSocketData(timestamp_end=ended)
    flow.metadata["request_id"] = exchange.request_id
    flow.metadata["bytes"] = [exchange.bytes_in, exchange.bytes_out]
    return flow


def _headers(headers: Headers, redactor: Redactor) -> http.Headers:
    # Bodies are shown decoded.
    shown = [line for line in headers.items if line[0] not in {b"content-encoding", b"transfer-encoding"}]
    return http.Headers(redactor.headers(shown))


def _bodies(
    exchange: Exchange, request: RequestHead, recording: Recording, redactor: Redactor
) -> tuple[bytes, bytes, str]:
    """Return what may be shown of both bodies, and a comment about the rest."""
    if exchange.tunnel:
        return b"", b"", _tunnel_comment(exchange)
    headers = None if recording.response is None else recording.response.headers
    sent, comment = _body("request", recording.request_body, request.headers, exchange.bytes_in, redactor)
    received, more = _body("response", recording.response_body, headers, exchange.bytes_out, redactor)
    return sent, received, f"{comment} {more}".strip()


def _tunnel_comment(exchange: Exchange) -> str:
    """Describe a tunnel. Its bytes are not parsed, so secrets in them cannot be redacted."""
    if not exchange.ended:
        return "The WebSocket is open. Its messages are not shown."
    seconds = exchange.ended - exchange.first_byte
    carried = f"{exchange.bytes_in} bytes up and {exchange.bytes_out} bytes down in {seconds:.1f} s"
    return f"The WebSocket carried {carried}. Its messages are not shown."


def _body(whose: str, kept: bytes, headers: Headers | None, length: int, redactor: Redactor) -> tuple[bytes, str]:
    """Return what may be shown of a body, and a comment about the rest."""
    if not length or headers is None:
        return b"", ""
    kind = headers.get(b"content-type") or b""
    coding = headers.get(b"content-encoding") or b""
    shown = redactor.body(kept, kind=kind, coding=coding, is_cut=len(kept) < length)
    if shown is None:
        shown_kind = redactor.text(kind).decode("latin-1") or "of no kind"
        return b"", f"The body of the {whose} is not shown: {shown_kind}, {length} bytes."
    return shown, f"Of the body of the {whose}, {len(kept)} of {length} bytes are shown." if len(kept) < length else ""
