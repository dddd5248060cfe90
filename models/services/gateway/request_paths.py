"""Checks of request paths: for every scope, and stricter ones for restricted scopes.

An unrestricted scope sells the upstream whole: whatever RFC 3986 allows is forwarded byte for byte. Under a restricted
scope a path must mean the same thing to every server that reads it, however lenient, or it could lead out of the scope.
"""

import re
import unicodedata
from enum import StrEnum
from urllib.parse import unquote_to_bytes


class PathFault(StrEnum):
    """Why a request path is rejected."""

    NO_SLASH = "no_slash"
    CONTROL = "control"
    DOT_SEGMENT = "dot_segment"
    BACKSLASH = "backslash"
    EMPTY_SEGMENT = "empty_segment"
    INVALID_ESCAPE = "invalid_escape"
    OVERLONG = "overlong"
    ENCODED_SLASH = "encoded_slash"
    DOUBLE_ESCAPE = "double_escape"


# The path prefix of the first backend's clients, which is never forwarded.
PREFIX = b"/api/v1/proxy"
RESERVED_SEGMENT = b"_zenzefi"

# Segments of plain characters that do not start with a dot need no further checks: nearly all traffic.
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)+/?|/")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Plain or escaped; unescaped `?` and `#` end a path.
_CONTROL = re.compile(rb"[\x00-\x20\x7f#?]|%(?:[01][0-9A-Fa-f]|7[Ff])")
_NESTED_ESCAPE = re.compile(r"%(?:2e|2f|5c|25)", re.IGNORECASE)
# Every character that compatibility normalisation (NFKC) turns into separators only, with its replacement.
# Others contain a slash among letters (U+2105 is c/o): they are not separators and stay within their segment.
_SEPARATOR_LIKE = str.maketrans(
    {
        "\u037e": ";",
        "\u2024": ".",
        "\u2025": "..",
        "\u2026": "...",
        "\u2047": "??",
        "\ufe14": ";",
        "\ufe16": "?",
        "\ufe19": "...",
        "\ufe30": "..",
        "\ufe52": ".",
        "\ufe54": ";",
        "\ufe56": "?",
        "\ufe5f": "#",
        "\ufe68": "\\",
        "\ufe6a": "%",
        "\uff03": "#",
        "\uff05": "%",
        "\uff0e": ".",
        "\uff0f": "/",
        "\uff1b": ";",
        "\uff1f": "?",
        "\uff3c": "\\",
    }
)
# The target of `OPTIONS *`, which is about the server and not a path (RFC 9112, section 3.2.4).
ASTERISK = b"*"
# Overlong UTF-8 hides dots and slashes from strict decoders, while lenient ones read them.
_OVERLONG = re.compile(rb"[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]|\xf8[\x80-\x87]|\xfc[\x80-\x83]")
# A server that decodes a path before it splits it takes the rest for parameters, a query or a fragment.
_END = re.compile(r"[;?#]")


def path_fault(raw_path: bytes) -> PathFault | None:
    """Return the fault of a path (without its query) under every scope, or None for a valid one."""
    if _PLAIN.fullmatch(raw_path) or raw_path == ASTERISK:
        return None
    if not raw_path.startswith(b"/"):
        return PathFault.NO_SLASH
    if _CONTROL.search(raw_path):
        return PathFault.CONTROL
    # Servers that decode slashes and read backslashes as slashes see dot segments between them, too.
    segments = unquote_to_bytes(raw_path).replace(b"\\", b"/").split(b"/")
    if b".." in segments or b"." in segments:
        return PathFault.DOT_SEGMENT
    return None


def strict_path_fault(raw_path: bytes) -> PathFault | None:
    """Return the fault of a path under a restricted scope, where no two servers may read it differently; or None."""
    if _PLAIN.fullmatch(raw_path):
        return None
    return path_fault(raw_path) or _raw_fault(raw_path) or _decoded_fault(raw_path)


def _raw_fault(raw_path: bytes) -> PathFault | None:
    """Return the fault that is visible before decoding; or None."""
    if b"\\" in raw_path:
        return PathFault.BACKSLASH
    if b"//" in raw_path:
        return PathFault.EMPTY_SEGMENT
    if _BAD_ESCAPE.search(raw_path):
        return PathFault.INVALID_ESCAPE
    return None


def _decoded_fault(raw_path: bytes) -> PathFault | None:
    """Return the fault that is visible after decoding the segments once; or None."""
    for raw in raw_path[1:].split(b"/"):
        segment = unquote_to_bytes(raw)
        if _OVERLONG.search(segment):
            return PathFault.OVERLONG
        seen = _as_seen_by_the_most_lenient(segment)
        if "/" in seen or "\\" in seen:
            return PathFault.ENCODED_SLASH
        name = _END.split(seen, maxsplit=1)[0]
        if name and not name.strip("."):
            return PathFault.DOT_SEGMENT
        if "%" in seen and _NESTED_ESCAPE.search(unicodedata.normalize("NFKC", seen)):
            return PathFault.DOUBLE_ESCAPE
    return None


def _as_seen_by_the_most_lenient(segment: bytes) -> str:
    """Return a decoded segment as a lenient server may read it.

    Some servers skip bytes that are not UTF-8, trim spaces, drop invisible characters, or read a fullwidth
    slash, percent sign or dot as the plain one.
    """
    if segment.isascii():
        return segment.decode().replace(" ", "")
    folded = segment.decode("utf-8", "ignore").translate(_SEPARATOR_LIKE)
    return "".join(letter for letter in folded if letter.isprintable() and letter != " ")


def is_blank(segment: str) -> bool:
    """Return whether a lenient server may read a decoded segment as empty, so that it reads another path."""
    if segment.isascii():
        return not segment.strip()
    return not _as_seen_by_the_most_lenient(segment.encode("utf-8", "surrogateescape"))


def is_under(raw_path: bytes, segment: bytes) -> bool:
    """Return whether a path's first non-empty segment is this one in any spelling.

    `segment` is lower case and begins with a byte without case.
    """
    if raw_path[1:2] not in (segment[:1], b"%", b"/", b"\\"):
        return False
    path = unquote_to_bytes(raw_path).replace(b"\\", b"/").lstrip(b"/")
    return path.partition(b"/")[0].partition(b";")[0].lower() == segment


def decoded_segments(raw_path: bytes) -> list[str]:
    """Split a path that has no restricted fault into its segments, each decoded once.

    Bytes that are not UTF-8 become lone surrogates, so that different paths stay different. A trailing
    slash becomes a last empty segment. `*` has no segments: it is not a path, and only `**` covers it.
    """
    if raw_path == ASTERISK:
        return []
    if b"%" not in raw_path:
        return raw_path[1:].decode("utf-8", "surrogateescape").split("/")
    return [unquote_to_bytes(raw).decode("utf-8", "surrogateescape") for raw in raw_path[1:].split(b"/")]
