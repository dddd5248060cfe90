"""Header blocks that were read before: a client sends the same ones again far more often than not."""

from addon.http1.messages.head_parser import Headers

BLOCKS = 1024
# What is longer is rare, and not worth the memory.
BLOCK_BYTES = 4096


class HeaderCache:
    """Header blocks of admitted requests by their bytes, for all connections of one worker.

    A block that comes again byte for byte need not be checked again, nor what was worked out from it. Only what was
    admitted is kept, so that nobody without a token can push others out. The block kept longest ago goes first.
    """

    def __init__(self) -> None:
        self._blocks: dict[bytes, Headers] = {}

    def get(self, block: bytes) -> Headers | None:
        """Return the block as it was read before."""
        return self._blocks.get(block)

    def add(self, headers: Headers) -> None:
        """Remember a block whose request was admitted."""
        headers.is_cached = True
        if len(headers.raw) > BLOCK_BYTES:
            return
        self._blocks[headers.raw] = headers
        if len(self._blocks) > BLOCKS:
            del self._blocks[next(iter(self._blocks))]
