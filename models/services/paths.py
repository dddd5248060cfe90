"""Whether a request path means the same thing to everyone who reads it."""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

# What the first backend's clients put before every path, and what no upstream is ever asked for.
PREFIX = b"/api/v1/proxy"
RESERVED_SEGMENT = b"_zenzefi"

# Segments of plain characters that do not start with a dot are fine as they stand: nearly all of traffic.
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)+/?|/")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x00-\x20\x7f]")
_DECODED_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NESTED_ESCAPE = re.compile(r"%(?:2e|2f|5c|25)", re.IGNORECASE)
# Overlong UTF-8 once carried dots and slashes past checks: a lenient decoder reads it, a strict one does not.
_OVERLONG = re.compile(rb"[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]|\xf8[\x80-\x87]|\xfc[\x80-\x83]")
# What decodes a path before it looks for its end takes the rest for parameters, a query or a fragment.
_END = re.compile(r"[;?#]")


def canonical_fault(raw_path: bytes) -> str | None:
    """Say what is wrong with a path (without its query), or None when it may be forwarded as it is.

    These refusals hold for every scope; the source of the rules is contract.md, "Scopes".
    """
    if _PLAIN.fullmatch(raw_path):
        return None
    if not raw_path.startswith(b"/"):
        return "The path must start with a slash."
    return _raw_fault(raw_path) or _decoded_fault(raw_path)


def _raw_fault(raw_path: bytes) -> str | None:
    """Find what is wrong before any decoding."""
    if _CONTROL.search(raw_path):
        return "The path holds a space or a control byte."
    if b"\\" in raw_path:
        return "The path holds a backslash."
    if b"#" in raw_path or b"?" in raw_path:
        return "The path holds a fragment."
    if b"//" in raw_path:
        return "The path holds an empty segment."
    if _BAD_ESCAPE.search(raw_path):
        return "The path holds a broken escape."
    return None


def _decoded_fault(raw_path: bytes) -> str | None:
    """Find what only shows after the path was decoded once, segment by segment."""
    for raw in raw_path[1:].split(b"/"):
        segment = unquote_to_bytes(raw)
        if _DECODED_CONTROL.search(segment):
            return "The path holds an encoded control byte."
        if _OVERLONG.search(segment):
            return "The path holds an overlong character."
        seen = _as_seen_by_the_most_lenient(segment)
        if "/" in seen or "\\" in seen:
            return "The path holds an encoded slash or backslash."
        name = _END.split(seen, maxsplit=1)[0]
        if name and not name.strip("."):
            return "The path holds a dot segment."
        if _NESTED_ESCAPE.search(seen):
            return "The path is escaped twice."
    return None


def _as_seen_by_the_most_lenient(segment: bytes) -> str:
    """Return a decoded segment without what somebody may leave out, and with what somebody may take for ASCII.

    There are readers that skip bytes that are no UTF-8, trim spaces, drop what is invisible, or read a fullwidth
    slash, percent sign or dot as the plain one.
    """
    if segment.isascii():
        return segment.decode().replace(" ", "")
    folded = unicodedata.normalize("NFKC", segment.decode("utf-8", "ignore"))
    return "".join(letter for letter in folded if letter.isprintable() and letter != " ")


def is_under(raw_path: bytes, segment: bytes) -> bool:
    """Say whether a path's first segment is this one, however it is written.

    `segment` is in lower case and begins with a byte that has no other case.
    """
    if raw_path[1:2] not in (segment[:1], b"%"):
        return False
    first = unquote_to_bytes(raw_path[1:].partition(b"/")[0])
    return first.partition(b";")[0].lower() == segment


def decoded_segments(raw_path: bytes) -> list[str]:
    """Split a path that has no canonical fault into its segments, each decoded once.

    Bytes that are not UTF-8 become lone surrogates, so that no two different paths look alike. A trailing
    slash shows as a last empty segment.
    """
    if b"%" not in raw_path:
        return raw_path[1:].decode("utf-8", "surrogateescape").split("/")
    return [unquote_to_bytes(raw).decode("utf-8", "surrogateescape") for raw in raw_path[1:].split(b"/")]
