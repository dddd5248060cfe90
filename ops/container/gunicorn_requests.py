"""Buffer of incoming requests: collects the bytes of a connection until a request is complete."""

import re
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Bounds:
    """Time limits for clients of the portal, and buffer sizes."""

    head_seconds: float = 15.0
    body_seconds: float = 60.0
    # Without progress of a response; also the limit of a thread's waiting for one response.
    response_seconds: float = 30.0
    # After the end of a response, for a client that does not close its connection.
    linger_seconds: float = 2.0
    head_bytes: int = 64 * KIB
    # More than any page or API request needs; larger requests are rejected by the application, unread.
    body_bytes: int = 512 * KIB
    # Buffered of one response for a slow client, before the thread has to wait.
    response_bytes: int = 4 * MIB
    # Buffered for all clients of a process; beyond it, the connections with the largest buffers are dropped.
    all_bytes: int = 96 * MIB
    small_bytes: int = 64 * KIB


_HEADER = re.compile(rb"\r\n([^\s:]+):[ \t]*([^\r\n]*)")
_EXPECT = re.compile(rb"\r\nexpect:[^\r\n]*", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[^\r\n]*)?")


class HeadTooLarge(Exception):
    """The head of a request exceeds its limit."""


class RequestBuffer:
    """Received bytes of the next request; gunicorn parses and validates it afterwards."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._data = bytearray()
        self._head_end = 0  # 0: the head is not complete
        self._length = 0  # of the body
        self._is_chunked = False
        self._chunk = 0  # where the next chunk's size is expected
        # The client waits for 100 Continue before it sends the body.
        self.expects = False

    def __len__(self) -> int:
        return len(self._data)

    @property
    def has_head(self) -> bool:
        """Whether the head is complete."""
        return self._head_end > 0

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._data += data

    def take(self) -> bytes | None:
        """Return one complete request, or None while it is incomplete.

        A malformed or oversized request is returned as far as it was received; the application rejects it and the
        connection is closed. Raises HeadTooLarge.
        """
        if not self._head_end and not self._read_head():
            return None
        largest = self._head_end + self._bounds.body_bytes
        end = self._chunked_end() if self._is_chunked else self._head_end + self._length
        if end is None and len(self._data) <= largest:
            return None
        if end is None or end > largest:
            return self._take_incomplete()
        return self._hand_over(end) if end <= len(self._data) else None

    def _read_head(self) -> bool:
        """Find the end of the head and the framing of the body."""
        blank = len(self._data) - len(self._data.lstrip(b"\r\n"))
        if blank:
            del self._data[:blank]  # RFC 9112, 2.2: an empty line before the request line is ignored.
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > self._bounds.head_bytes:
                raise HeadTooLarge
            return False
        self._head_end = end + 4
        fields = {name.lower(): value.strip() for name, value in _HEADER.findall(self._data[: end + 2])}
        length = fields.get(b"content-length", b"0")
        self._length = int(length) if _LENGTH.fullmatch(length) else self._bounds.body_bytes + 1
        self._is_chunked = b"transfer-encoding" in fields
        self._chunk = self._head_end
        self.expects = fields.get(b"expect", b"").lower() == b"100-continue" and self._length <= self._bounds.body_bytes
        return True

    def _chunked_end(self) -> int | None:
        """Return the end of a chunked body, None while unknown; for a malformed one an end beyond the limit."""
        data = self._data
        while True:
            line_end = data.find(b"\r\n", self._chunk)
            if line_end < 0:
                return None
            match = _CHUNK.fullmatch(data, self._chunk, line_end)
            if match is None:
                return self._head_end + self._bounds.body_bytes + 1
            size = int(match[1], 16)
            if not size:
                if data.startswith(b"\r\n", line_end + 2):
                    return line_end + 4
                end = data.find(b"\r\n\r\n", line_end + 2)
                return None if end < 0 else end + 4
            following = line_end + 2 + size + 2
            if following > self._head_end + self._bounds.body_bytes:
                return following
            if following > len(data):
                return None
            self._chunk = following

    def _take_incomplete(self) -> bytes:
        """Return the received part of a request whose rest is not read, marked so that the connection is closed."""
        end = self._data.find(b"\r\n")
        if 0 <= end < self._head_end:
            self._data[end:end] = b"\r\nConnection: close"
            self._head_end += len(b"\r\nConnection: close")
        return self._hand_over(len(self._data))

    def _hand_over(self, end: int) -> bytes:
        # The event loop has sent 100 Continue already; gunicorn must not repeat it.
        head = _EXPECT.sub(b"", bytes(self._data[: self._head_end]))
        request = head + bytes(self._data[self._head_end : end])
        del self._data[:end]
        self._head_end = self._length = self._chunk = 0
        self._is_chunked = self.expects = False
        return request
