"""Buffer of received bytes that are not parsed yet; finds the end of a message head."""

from collections.abc import Callable

from addon.http1.limits import Limits
from addon.http1.messages.first_line import can_be_request
from addon.http1.messages.head_parser import HeadError


class ReceiveBuffer:
    """Collects bytes until they contain a whole head."""

    __slots__ = ("_can_begin", "_limit", "_searched", "_url_limit", "buffer", "skipped")

    def __init__(self, limits: Limits, can_begin: Callable[[bytes], bool] = can_be_request) -> None:
        self._can_begin = can_begin
        self.buffer = b""
        self._searched = 0
        self._limit = limits.head_bytes
        self._url_limit = limits.url_bytes
        # Whether the one empty line that may precede a request (RFC 9112, 2.2) was skipped.
        self.skipped = False

    def take_all(self) -> bytes:
        """Remove and return all bytes."""
        data, self.buffer = self.buffer, b""
        return data

    def take_head(self) -> bytes | None:
        """Remove and return one whole head; None while it is incomplete. Raises HeadError if it cannot become one."""
        data = self.buffer
        if not self.skipped and data.startswith(b"\r\n"):
            self.skipped = True
            self.buffer = data = data[2:]
        end = data.find(b"\r\n\r\n", self._searched)
        if end < 0:
            if not self._can_begin(data):
                raise HeadError("This is not HTTP/1.")
            if len(data) >= self._limit + 4:
                raise self._too_long(data)
            if b"\n" in data[self._searched :] and data.count(b"\n") != data.count(b"\r\n"):
                raise HeadError("A line does not end with CRLF.")
            # The last bytes may be the start of the empty line.
            self._searched = max(0, len(data) - 3)
            return None
        self._searched = 0
        self.skipped = False
        if end > self._limit:
            raise self._too_long(data)
        self.buffer = data[end + 4 :]
        return data[: end + 4]

    def _too_long(self, data: bytes) -> HeadError:
        line_end = data.find(b"\r\n")
        if line_end < 0 or line_end > self._url_limit + 16:
            return HeadError("The address is too long.", 414, "uri_too_long")
        return HeadError("The head is too large.", 431, "headers_too_large")
