"""Sizes of a benchmark run."""

from dataclasses import dataclass

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run: each measurement takes `seconds`, is repeated `rounds` times, and the median is reported.

    `connections` are kept open; one more measurement uses a connection per request.
    """

    rounds: int
    seconds: int
    warm_seconds: int
    connections: tuple[int, ...]
    transfer_bytes: int
    transfer_rounds: int
    steady_rate: int
    steady_seconds: float
    idle_connections: int
    revokes: int


FULL = Sizes(3, 2, 2, (1, 32, 256), GIB, 2, 1000, 60.0, 5000, 60)
QUICK = Sizes(1, 1, 1, (1, 32, 256), GIB // 4, 1, 1000, 5.0, 500, 20)
# For the test of the benchmark: everything once; the figures are meaningless.
TINY = Sizes(1, 1, 0, (), 2 * MIB, 1, 50, 0.5, 10, 2)
