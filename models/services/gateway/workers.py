"""Redis keys shared by the proxy workers: counters and liveness."""

from collections.abc import Mapping
from dataclasses import dataclass

# The number in the keys is raised when fields change their meaning.
TOTALS, GAUGES = "zenzefi:metrics:1:totals", "zenzefi:metrics:2:gauges"
# Flows of active inspections; they expire this long after the last one.
FLOWS, FLOWS_SECONDS = "zenzefi:flows", 3600
# Expiry of the certificates of the public addresses, by name (Unix time), as last checked by a job.
CERTIFICATES = "zenzefi:certificates"
# A worker that has not reported for this long counts as stopped, and its gauges are dropped.
WORKER_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class WorkerTotals:
    """Number of workers that reported recently, and refusals by code, most frequent first."""

    workers: int
    refusals: Mapping[str, int]


def read_totals(gauges: Mapping[bytes, bytes], totals: Mapping[bytes, bytes], now: float) -> WorkerTotals:
    """Parse the values of Redis; malformed ones are skipped."""
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
