"""Strict parser for request and response heads; requests are never repaired, responses only where that is safe.

Each head passes three checks: allowed bytes, llhttp in its strict mode, and the rules of this module for what HTTP
leaves open (one Host, one length, known forms of targets). llhttp is fed exactly one head and no body: it cannot be
told that a message has none, and would parse the next message as its body.
"""

import re
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from addon.http1.limits import Limits
from addon.http1.messages.header_rules import SINGLE_IN_REQUESTS
from addon.http1.messages.heads import Header, Headers, RequestHead, ResponseHead
from addon.http1.messages.request_target import AUTHORITY, parse_target
from addon.http1.messages.response_repair import repair_head
from models.services.gateway.scopes import ORDINARY_METHODS

# Deleting these from a well-formed head leaves only the line ends.
_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!\"$-~]+) HTTP/1\.([01])")
_ORDINARY_METHODS = {method.encode(): method for method in ORDINARY_METHODS}
# CONNECT tunnels to any host, TRACE echoes the headers that the proxy adds (RFC 9110, 9.3.6 and 9.3.8).
_NEVER_PASSED = frozenset({b"CONNECT", b"TRACE"})
# No registered method has more than 17 letters; a longer one is answered with 501 too (RFC 9112, section 3).
_LONGEST_METHOD = 32
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")
_LENGTH = re.compile(rb"[0-9]{1,15}")

SINGLE_IN_RESPONSES = frozenset(
    {b"content-length", b"transfer-encoding", b"content-type", b"location", b"upgrade", b"content-range"}
)


class HeadError(Exception):
    """A malformed or disallowed head, with the status and code of the error response."""

    def __init__(self, detail: str, status: int = 400, code: str = "bad_request") -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


def _split(head: bytes, single: frozenset[bytes], count: int) -> tuple[list[Header], dict[bytes, bytes]]:
    """Split header lines that llhttp accepts; `head` starts with the first line and ends with the empty one."""
    lines = head[:-4].split(b"\r\n") if len(head) > 2 else []
    if len(lines) > count:
        raise HeadError("The request has too many headers.", 431, "headers_too_large")
    if head.translate(None, _TEXT) != b"\r\n" * (len(lines) + 1):
        raise HeadError("A header holds a control byte.")
    items: list[Header] = []
    first: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        lower = name.lower()
        if not colon or not name or name != name.strip(b" \t"):
            raise HeadError("A header line is malformed.")
        value = value.strip(b" \t")
        if lower not in first:
            first[lower] = value
        elif lower in single:
            raise HeadError("A header that may be sent once was sent twice.")
        items.append((lower, name, value))
    return items, first


class _Silent:
    """Callbacks for llhttp: none, as it is used for checks only."""


_SILENT = _Silent()


def _check(make: Callable[[object], HttpRequestParser | HttpResponseParser], head: bytes) -> None:
    """Check one head with llhttp in its strict mode. Raises HeadError."""
    try:
        make(_SILENT).feed_data(head)
    except HttpParserUpgrade:
        pass  # The layer handles upgrades; the head itself is well-formed.
    except HttpParserError as error:
        raise HeadError("The message is malformed.") from error


def _check_framing(first: dict[bytes, bytes], http10: bool) -> None:
    """Refuse every ambiguous framing. Raises HeadError."""
    coding = first.get(b"transfer-encoding")
    length = first.get(b"content-length")
    if coding is not None:
        if http10 or length is not None or coding.lower() != b"chunked":
            raise HeadError("The framing of the body is ambiguous.")
    elif length is not None and not _LENGTH.fullmatch(length):
        raise HeadError("The length of the body is malformed.")


def _check_request(first: dict[bytes, bytes], http10: bool) -> None:
    host = first.get(b"host")
    if host is None and not http10:
        raise HeadError("The Host header is missing.")
    if host is not None and not AUTHORITY.fullmatch(host):
        raise HeadError("The Host header is malformed.")
    hops = first.get(b"max-forwards")
    if hops is not None and not _LENGTH.fullmatch(hops):
        raise HeadError("The Max-Forwards header is malformed.")
    _check_framing(first, http10)


def _unusual_method(method: bytes) -> str:
    """Return a method outside the ordinary ones. Raises HeadError for those that are never forwarded."""
    if method in _NEVER_PASSED or len(method) > _LONGEST_METHOD:
        raise HeadError("This method is not passed on.", 501, "not_implemented")
    return method.decode()


def parse_request(
    head: bytes, limits: Limits, find_cached: Callable[[bytes], Headers | None] = lambda _: None
) -> RequestHead:
    """Parse a request head, which ends with the first empty line. Raises HeadError.

    `find_cached` finds header lines that were parsed before: repeated byte for byte and with the same version, they are
    not checked again.
    """
    line_end = head.find(b"\r\n")
    if line_end > limits.url_bytes + 16:
        raise HeadError("The address is too long.", 414, "uri_too_long")
    match = _REQUEST_LINE.fullmatch(head, 0, line_end)
    if match is None:
        raise HeadError("The request line is malformed.")
    method = _ORDINARY_METHODS.get(match[1]) or _unusual_method(match[1])
    http10 = match[3] == b"0"
    target = parse_target(method, match[2])
    if target is None:
        raise HeadError("The address of the request is malformed.")
    raw_path, query, authority = target
    raw = head[line_end - 1 :]
    headers = find_cached(raw)
    if headers is None:
        # llhttp accepts only the methods that it knows; the request line was checked above.
        _check(HttpRequestParser, b"GET / HTTP/1." + raw)
        headers = Headers(raw, *_split(raw[3:], SINGLE_IN_REQUESTS, limits.header_count))
        _check_request(headers.first, http10)
    return RequestHead(method, raw_path, query, http10, headers, target_authority=authority)


def parse_response(
    head: bytes, limits: Limits, find_cached: Callable[[bytes], Headers | None] = lambda _: None
) -> ResponseHead:
    """Parse a response head, which ends with the first empty line; repair it where that is safe. Raises HeadError.

    `find_cached` finds header lines that were parsed before in a response of HTTP/1.1.
    """
    try:
        return _parse_response(head, limits, find_cached)
    except HeadError as error:
        mended = repair_head(head)
        if mended == head:
            raise
        try:
            return _parse_response(mended, limits, find_cached)
        except HeadError:
            raise error from None


def _parse_response(head: bytes, limits: Limits, find_cached: Callable[[bytes], Headers | None]) -> ResponseHead:
    line_end = head.find(b"\r\n")
    match = _STATUS_LINE.fullmatch(head, 0, line_end)
    if match is None:
        raise HeadError("The status line is malformed.")
    raw = head[line_end + 2 :]
    http10 = match[1] == b"0"
    headers = None if http10 else find_cached(raw)
    if headers is None:
        # The status line was checked above.
        _check(HttpResponseParser, head)
        headers = Headers(raw, *_split(raw, SINGLE_IN_RESPONSES, limits.header_count))
        _check_framing(headers.first, http10)
    return ResponseHead(int(match[2]), match[3] or b"", http10, headers)


def parse_header_lines(block: bytes) -> list[Header]:
    """Parse the lines of a trailer section, which ends with an empty line. Raises HeadError."""
    _check(HttpRequestParser, b"GET / HTTP/1.1\r\n" + block)
    return _split(block, frozenset(), 100)[0]
