"""Whether the bytes that came so far can still become a request or a response: what cannot is answered at once."""

import re

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(_TOKEN + rb" [!-~]+ HTTP/[0-9]\.[0-9]")
_PART_OF_ONE = re.compile(_TOKEN + rb"(?: [!-~]*(?: [HTP/.0-9]{0,8}\r?)?)?|\r?")
_VERSION = b"HTTP/1."


def can_be_request(data: bytes) -> bool:
    """Say whether these bytes, behind an empty line that may stand there, can begin a request (RFC 9112, section 3)."""
    line, line_end, _ = data.partition(b"\r\n")
    return (_REQUEST_LINE if line_end else _PART_OF_ONE).fullmatch(line) is not None


def can_be_response(data: bytes) -> bool:
    """Say whether these bytes can begin a response (RFC 9112, section 4)."""
    return data[: len(_VERSION)] == _VERSION[: len(data)]
