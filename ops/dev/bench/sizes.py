"""Sizes of a benchmark run."""

from dataclasses import dataclass

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True)
class Sizes:
    """Sizes of a run: each measurement takes `seconds`, is repeated `rounds` times, and the median is reported.

    `connections` are kept open; one more measurement uses a connection per request. `tls_requests` are sent to a TLS
    upstream: for each one-way delay in ms, how many to each target.
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
    tls_requests: tuple[tuple[int, int], ...]


FULL = Sizes(3, 2, 2, (1, 32, 256), GIB, 2, 1000, 60.0, 5000, 60, ((0, 200), (20, 50)))
QUICK = Sizes(1, 1, 1, (32, 256), GIB // 4, 1, 1000, 5.0, 500, 10, ((0, 50), (20, 10)))
# For the test of the benchmark: everything once; the figures are meaningless.
TINY = Sizes(1, 1, 0, (), 2 * MIB, 1, 50, 0.5, 10, 2, ((20, 2),))
