"""Parses request targets in each of their forms (RFC 9112, section 3.2) and compares authorities."""

import re

AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


# Path, query, and the authority key of a target in absolute form, which replaces the Host header.
type Target = tuple[bytes, bytes | None, bytes | None]


def parse_target(method: str, target: bytes) -> Target | None:
    """Parse a target of printable ASCII; return None for a form that this method may not have."""
    if target.startswith(b"/"):
        path, mark, query = target.partition(b"?")
        return path, query if mark else None, None
    if target == b"*":
        return (target, None, None) if method == "OPTIONS" else None
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not AUTHORITY.fullmatch(match[2]):
        return None
    # RFC 9112, 3.2.4: without a path and query, OPTIONS applies to the server as a whole.
    nothing = b"*" if method == "OPTIONS" and match[4] is None else b"/"
    return match[3] or nothing, match[4], authority_key(match[1].lower(), match[2])


def authority_key(scheme: bytes, authority: bytes) -> bytes:
    """Return an authority in the form for comparison: in lower case, without the scheme's default port."""
    return authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, b""))
