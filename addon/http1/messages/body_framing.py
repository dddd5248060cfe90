"""Body framing: readers for bodies by length, chunked or until close, and a writer for chunks."""

import re
from enum import Enum, auto

from addon.http1.messages.head_parser import HeadError, parse_header_lines
from addon.http1.messages.header_rules import FORBIDDEN_IN_TRAILERS
from addon.http1.messages.heads import Header

_MAX_EXTENSION = 256
_MAX_PADDING = 32
_MAX_SIZE_LINE = 15 + _MAX_PADDING + 1 + _MAX_EXTENSION + 2
_SIZE = rb"([0-9A-Fa-f]{1,15})%b(?:;[\t\x20-\x7e\x80-\xff]{0,%d})?\r\n"
_SIZE_LINE = re.compile(_SIZE % (b"", _MAX_EXTENSION))
# Old servers pad the size with spaces, which nginx and clients accept; RFC 9112, 7.1.1 allows them before extensions.
_PADDED_SIZE_LINE = re.compile(_SIZE % (rb"[\t ]{0,%d}" % _MAX_PADDING, _MAX_EXTENSION))
# Many tiny chunks with long extensions cost far more than their data (as in CVE-2023-39326).
_FREE_OVERHEAD = 16 * 1024


class Kind(Enum):
    """How a message body is delimited."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


class BodyReader:
    """Reads a body that needs no decoding: of `length` bytes, or until the peer closes if that is None."""

    __slots__ = ("done", "fault", "left", "rest", "trailers", "until_close")

    def __init__(self, length: int | None) -> None:
        self.left = length or 0
        self.until_close = length is None
        self.done = length == 0
        self.rest = b""
        self.fault: str | None = None
        self.trailers: list[Header] = []

    def receive(self, data: bytes) -> bytes:
        """Return the body bytes in `data`; bytes after the body are left in `rest`."""
        if self.until_close:
            return data
        size = len(data)
        if size < self.left:
            self.left -= size
            return data
        self.done = True
        if size == self.left:
            self.left = 0
            return data
        payload, self.rest = data[: self.left], data[self.left :]
        self.left = 0
        return payload


class ChunkedReader(BodyReader):
    """Decodes chunked coding strictly; the body is always framed again when it is forwarded.

    `is_tolerant`, for responses, accepts padded chunk sizes.
    """

    __slots__ = ("_after_data", "_buffer", "_in_trailer", "_overhead", "_size_line", "_trailer_bytes")

    def __init__(self, trailer_bytes: int, *, is_tolerant: bool = False) -> None:
        super().__init__(1)
        self._size_line = _PADDED_SIZE_LINE if is_tolerant else _SIZE_LINE
        self.left = 0
        self._buffer = b""
        self._after_data = False
        self._in_trailer = False
        self._overhead = 0
        self._trailer_bytes = trailer_bytes

    def receive(self, data: bytes) -> bytes:
        """Return the payload in `data`; after an error, the payload before it, with `fault` set."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if len(data) < self.left:
            self.left -= len(data)
            return data
        parts: list[bytes] = []
        position = self._read_chunks(data, parts)
        if position < len(data):
            if self.done:
                self.rest = data[position:]
            elif self.fault is None:
                self._buffer = data[position:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_chunks(self, data: bytes, parts: list[bytes]) -> int:
        """Append each payload to `parts`; return how far `data` was parsed."""
        position, end = 0, len(data)
        while position < end and not self._in_trailer:
            if self.left:
                taken = min(self.left, end - position)
                parts.append(data[position : position + taken])
                position += taken
                self.left -= taken
                self._after_data = not self.left
            elif self._after_data:
                if not b"\r\n".startswith(data[position : position + 2]):
                    self.fault = "A chunk is longer than its size."
                    return end
                if end - position < 2:
                    return position
                position += 2
                self._after_data = False
            else:
                match = self._size_line.match(data, position)
                if match is None:
                    return self._incomplete_size(data, position)
                self._begin_chunk(int(match[1], 16), match.end() - position)
                position = match.end()
                if self.fault:
                    return end
        return self._read_trailer(data, position) if self._in_trailer else position

    def _begin_chunk(self, size: int, line_length: int) -> None:
        self._overhead = max(0, self._overhead + line_length - 16 - 2 * size)
        if self._overhead > _FREE_OVERHEAD:
            self.fault = "The chunks carry more framing than data."
        self.left = size
        self._in_trailer = size == 0

    def _incomplete_size(self, data: bytes, position: int) -> int:
        """Wait for the rest of a size line, or set `fault` if it cannot become one."""
        if data.find(b"\n", position) >= 0 or len(data) - position > _MAX_SIZE_LINE:
            self.fault = "A chunk size is malformed."
            return len(data)
        return position

    def _read_trailer(self, data: bytes, position: int) -> int:
        """Parse the trailer section, which ends with an empty line."""
        if data.startswith(b"\r\n", position):
            self.done = True
            return position + 2
        end = data.find(b"\r\n\r\n", position)
        if end < 0:
            if len(data) - position > self._trailer_bytes + 4:
                self.fault = "The trailer is too long."
                return len(data)
            return position
        try:
            if end - position > self._trailer_bytes:
                raise HeadError("The trailer is too long.")
            headers = parse_header_lines(data[position : end + 4])
        except HeadError as error:
            self.fault = str(error)
            return len(data)
        self.trailers = [header for header in headers if header[0] not in FORBIDDEN_IN_TRAILERS]
        self.done = True
        return end + 4


def chunk(payload: bytes) -> bytes:
    """Frame a piece of a body as a chunk; an empty piece gives none, as it would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def last_chunk(trailers: list[Header]) -> bytes:
    """Return the end of a chunked body, with its trailers."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % (name, value) for _, name, value in trailers)
