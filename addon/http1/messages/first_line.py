"""Early detection of bytes that cannot become an HTTP request or response."""

import re

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(_TOKEN + rb" [!-~]+ HTTP/[0-9]\.[0-9]")
_PART_OF_ONE = re.compile(_TOKEN + rb"(?: [!-~]*(?: [HTP/.0-9]{0,8}\r?)?)?|\r?")
_VERSION = b"HTTP/1."


def can_be_request(data: bytes) -> bool:
    """Return whether these bytes, after an optional empty line, can begin a request (RFC 9112, section 3)."""
    line, line_end, _ = data.partition(b"\r\n")
    return (_REQUEST_LINE if line_end else _PART_OF_ONE).fullmatch(line) is not None


def can_be_response(data: bytes) -> bool:
    """Return whether these bytes can begin a response (RFC 9112, section 4)."""
    return data[: len(_VERSION)] == _VERSION[: len(data)]
