"""Reads the upstream's response and decides its framing for the client."""

from addon.http1.limits import Limits
from addon.http1.messages.body_framing import BodyReader, ChunkedReader, Kind
from addon.http1.messages.first_line import can_be_response
from addon.http1.messages.head_parser import HeadError, parse_response
from addon.http1.messages.header_cache import ResponseHeaderCache
from addon.http1.messages.heads import RequestHead, ResponseHead
from addon.http1.messages.receive_buffer import ReceiveBuffer

_UNSIZED = (Kind.CHUNKED, Kind.UNTIL_CLOSE)


def body_kind(response: ResponseHead, method: str) -> Kind:
    """Return how the body of a final response is delimited (RFC 9112, 6.3)."""
    if method == "HEAD" or response.status in (204, 304):
        return Kind.NONE
    first = response.headers.first
    if b"transfer-encoding" in first:
        return Kind.CHUNKED
    if b"content-length" in first:
        return Kind.LENGTH
    return Kind.UNTIL_CLOSE


class UpstreamResponse:
    """The response to one request, as far as it was received."""

    __slots__ = (
        "_cache",
        "_heads",
        "_intake",
        "_limits",
        "_method",
        "body",
        "chunked_out",
        "drops_length",
        "head",
        "keep",
        "kind",
        "until_close",
    )

    def __init__(self, method: str, limits: Limits, cache: ResponseHeaderCache) -> None:
        self._cache = cache
        self._method = method
        self._limits = limits
        self._intake = ReceiveBuffer(limits, can_be_response)
        self._heads = 0
        self.head: ResponseHead | None = None
        self.body = BodyReader(0)
        self.kind = Kind.NONE
        self.chunked_out = False
        # The end of the connection is the only delimiter of the body for the client.
        self.until_close = False
        # Content-Length must not be sent on.
        self.drops_length = False
        # Whether the client's connection may carry another exchange after this one.
        self.keep = False

    def feed(self, data: bytes) -> None:
        """Add bytes to the head."""
        self._intake.buffer += data

    def take_head(self) -> ResponseHead | None:
        """Return the next head, informational or final, or None while it is incomplete. Raises HeadError."""
        if not self._intake.buffer:
            return None
        self._intake.skipped = True  # No empty line may precede a response.
        raw = self._intake.take_head()
        if raw is None:
            return None
        self._heads += 1
        if self._heads > self._limits.informational_heads:
            raise HeadError("There are too many informational responses.")
        head = parse_response(raw, self._limits, self._cache.get)
        if not head.headers.is_cached and not head.http10:
            self._cache.add(head.headers)
        return head

    def take_rest(self) -> bytes:
        """Remove and return the bytes after the head."""
        return self._intake.take_all()

    def settle(self, head: ResponseHead, request: RequestHead, keep: bool) -> None:
        """Decide the framing on both sides from the final head; `keep`: the client's connection may be kept."""
        self.head = head
        self.kind = body_kind(head, self._method)
        if self.kind is Kind.CHUNKED:
            self.body = ChunkedReader(self._limits.trailer_bytes, is_tolerant=True)
        elif self.kind is Kind.LENGTH:
            self.body = BodyReader(int(head.headers.first[b"content-length"]))
        elif self.kind is Kind.UNTIL_CLOSE:
            self.body = BodyReader(None)
        # The desktop client decompresses the body and keeps its Content-Length, which then is wrong.
        recoded = request.compat and b"content-encoding" in head.headers.first
        unsized = self.kind in _UNSIZED or (recoded and self.kind is Kind.LENGTH)
        self.chunked_out = unsized and not request.http10
        self.until_close = unsized and request.http10
        self.drops_length = unsized or recoded or head.status == 204
        self.keep = keep and not self.until_close

    @property
    def leaves_upstream_usable(self) -> bool:
        """Whether the upstream connection can carry another request after this response."""
        head = self.head
        if head is None or self.kind is Kind.UNTIL_CLOSE or not head.keep_alive or self.body.rest:
            return False
        return self.kind is not Kind.NONE or not _announces_a_body(head)


def _announces_a_body(head: ResponseHead) -> bool:
    """Return whether a bodiless response announces a body, which must not be read as the next response."""
    first = head.headers.first
    return b"transfer-encoding" in first or int(first.get(b"content-length", b"0")) > 0
