"""What the metrics cost a request: `python -m ops.dev.bench.counting`, in nanoseconds on one core.

The best of many short runs counts, so that what else the machine does stays out of it.
"""

import timeit
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

from addon.http1.exchange import Exchange
from addon.http1.messages.head_parser import Headers, RequestHead
from addon.recording.counters import Counters
from models.metrics.catalogue import LATENCY
from ops.console import print_line

TIMES, RUNS = 2_000, 1_000


def main() -> None:
    """Measure what is counted for each request, and one more metric of each kind beside prometheus_client's own."""
    counts = Counters()
    exchange = Exchange("0123456789abcdef-1", 100.0)
    exchange.request = RequestHead("GET", b"/certificates/filter", b"", False, Headers(b"", [], {}))
    exchange.status, exchange.forwarded, exchange.first_byte, exchange.ended = 200, 100.001, 100.002, 100.003
    registry = CollectorRegistry()
    counter = Counter("one_more", "-", ["tier", "outcome"], registry=registry)
    histogram = Histogram("one_more_seconds", "-", buckets=LATENCY, registry=registry)
    measured: dict[str, Callable[[], object]] = {
        "one more counter with two labels": lambda: counts.add("admissions", "map", "admitted"),
        "one more histogram": lambda: counts.took("upstream", "", 0.002),
        "the same counter by prometheus_client": lambda: counter.labels("map", "admitted").inc(),
        "the same histogram by prometheus_client": lambda: histogram.observe(0.002),
        "all that is counted as a request ends": lambda: counts.finished(exchange),
        "its bytes": lambda: counts.carried(0, 1000),
    }
    empty = _nanoseconds(lambda: None)
    for name, work in measured.items():
        print_line(f"{name:<42}{_nanoseconds(work) - empty:>7.0f} ns")


def _nanoseconds(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, number=TIMES, repeat=RUNS)) / TIMES * 1e9


if __name__ == "__main__":
    main()
