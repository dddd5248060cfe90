"""Collects the bytes of one connection to the portal until they are a whole request, without a thread."""

import re
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Bounds:
    """How long a client of the portal may take, and how much is kept for it meanwhile."""

    head_seconds: float = 15.0
    body_seconds: float = 60.0
    # Without a byte taken of a response; a thread waits no longer than this for one whole response.
    response_seconds: float = 30.0
    # After the end of a response, for a client that does not close its connection.
    linger_seconds: float = 2.0
    head_bytes: int = 64 * KIB
    # More than any page or API request of the portal takes: what is larger is refused by the application, unread.
    body_bytes: int = 512 * KIB
    # Kept of one response for a client that reads slowly, before the thread has to wait.
    response_bytes: int = 4 * MIB
    # Kept for all clients of one process; beyond it, the largest are dropped.
    all_bytes: int = 96 * MIB
    small_bytes: int = 64 * KIB


_HEADER = re.compile(rb"\r\n([^\s:]+):[ \t]*([^\r\n]*)")
_EXPECT = re.compile(rb"\r\nexpect:[^\r\n]*", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[^\r\n]*)?")


class HeadTooLarge(Exception):
    """The head of a request has no end within its bound."""


class RequestBuffer:
    """What came of the next request; how it is framed is judged by gunicorn, which reads it afterwards."""

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
        """Whether the body is what is missing."""
        return self._head_end > 0

    def feed(self, data: bytes) -> None:
        """Add what came."""
        self._data += data

    def take(self) -> bytes | None:
        """Return one whole request, or None while it is incomplete.

        One that is malformed, or larger than is kept, is returned as far as it has come; the application then refuses
        it, and the connection ends. Raises HeadTooLarge.
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
        """Find the end of the head, and how its body is framed."""
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
        """Return where a chunked body ends, or None while that is not known; a malformed one ends out of bounds."""
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
        """Hand over what is here of a request whose rest is not read, so that the connection is closed behind it."""
        end = self._data.find(b"\r\n")
        if 0 <= end < self._head_end:
            self._data[end:end] = b"\r\nConnection: close"
            self._head_end += len(b"\r\nConnection: close")
        return self._hand_over(len(self._data))

    def _hand_over(self, end: int) -> bytes:
        # 100 Continue was sent already where it was due: gunicorn does not have to.
        head = _EXPECT.sub(b"", bytes(self._data[: self._head_end]))
        request = head + bytes(self._data[self._head_end : end])
        del self._data[:end]
        self._head_end = self._length = self._chunk = 0
        self._is_chunked = self.expects = False
        return request
