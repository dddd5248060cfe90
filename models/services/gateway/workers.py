"""Redis keys shared by the proxy workers: counters and liveness."""

from collections.abc import Mapping
from dataclasses import dataclass

# The number in the names grows when the fields change their meaning, as with other buckets.
TOTALS, GAUGES = "zenzefi:metrics:1:totals", "zenzefi:metrics:2:gauges"
# The flows that are shown while an admin wants it: nothing of them is kept for longer than this after the last one.
FLOWS, FLOWS_SECONDS = "zenzefi:flows", 3600
# When the certificates end that the public addresses show, by name (Unix time), as a job last saw them.
CERTIFICATES = "zenzefi:certificates"
# A worker that has not reported for this long is gone, and its gauges with it.
WORKER_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class WorkerTotals:
    """How many workers reported lately, and how often they refused a request, by code, most often first."""

    workers: int
    refusals: Mapping[str, int]


def read_totals(gauges: Mapping[bytes, bytes], totals: Mapping[bytes, bytes], now: float) -> WorkerTotals:
    """Read what Redis holds; what cannot be understood is passed over."""
    alive = sum(_reported(value) >= now - WORKER_TIMEOUT_SECONDS for value in gauges.values())
    refused: dict[str, int] = {}
    for name, value in totals.items():
        kind, _, code = name.decode().partition("|")
        if kind == "refusals" and value.isdigit():
            refused[code] = int(value)
    return WorkerTotals(alive, dict(sorted(refused.items(), key=lambda pair: (-pair[1], pair[0]))))


def _reported(gauge: bytes) -> float:
    first = gauge.split(b" ", 1)[0]
    return float(first) if first.isdigit() else float("-inf")
