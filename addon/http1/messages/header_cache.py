"""Caches of parsed header blocks: clients, and often upstreams, repeat them byte for byte."""

from addon.http1.messages.heads import Headers

BLOCKS = 1024
# Longer blocks are rare and not worth the memory.
BLOCK_BYTES = 4096


class HeaderCache:
    """Parsed header blocks of admitted requests by their bytes, for all connections of one worker.

    A block that is repeated byte for byte is not checked again. Only blocks of admitted requests are cached, so that
    clients without a token cannot evict others. The oldest block is evicted first.
    """

    def __init__(self) -> None:
        self._blocks: dict[bytes, Headers] = {}

    def get(self, block: bytes) -> Headers | None:
        """Return the parsed block, or None."""
        return self._blocks.get(block)

    def add(self, headers: Headers) -> None:
        """Add the block of an admitted request."""
        headers.is_cached = True
        if len(headers.raw) > BLOCK_BYTES:
            return
        self._blocks[headers.raw] = headers
        if len(self._blocks) > BLOCKS:
            del self._blocks[next(iter(self._blocks))]


class ResponseHeaderCache(HeaderCache):
    """Parsed header blocks of HTTP/1.1 responses.

    Those with cookies are not kept: they differ for each user, and hold secrets.
    """

    def add(self, headers: Headers) -> None:
        """Add the block of a response."""
        if b"set-cookie" not in headers.first:
            super().add(headers)
