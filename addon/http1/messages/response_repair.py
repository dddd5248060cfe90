"""Repairs malformed response heads that nginx and clients accept and that have one safe meaning."""

# Repeated with the same value, these mean the same as once; a second Transfer-Encoding would be a second coding.
_REPEATABLE = frozenset({b"content-length", b"content-type", b"content-range", b"location", b"upgrade"})


def repair_head(head: bytes) -> bytes:
    """Return the head without identical duplicates of single headers and without spaces before a colon.

    RFC 9110, 8.6 lets a recipient replace identical lengths with one; RFC 9112, 5.1 has a proxy remove the spaces.
    The result is checked as strictly as any other head.
    """
    lines = head[:-4].split(b"\r\n")
    seen: set[tuple[bytes, bytes]] = set()
    kept = lines[:1]
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or name[:1] in (b" ", b"\t"):
            kept.append(line)  # A folded line, or not a header: not repaired.
            continue
        name, value = name.rstrip(b" \t"), value.strip(b" \t")
        lower = name.lower()
        if lower == b"content-length":
            value = _one_length(value)
        if lower in _REPEATABLE and (lower, value) in seen:
            continue
        seen.add((lower, value))
        kept.append(b"%b: %b" % (name, value))
    return b"\r\n".join(kept) + b"\r\n\r\n"


def _one_length(value: bytes) -> bytes:
    """Return the one length of a list such as `5, 5`; any other value unchanged."""
    lengths = {length.strip(b" \t") for length in value.split(b",")}
    return lengths.pop() if len(lengths) == 1 else value
