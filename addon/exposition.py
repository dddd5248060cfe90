"""The gateway's metrics as Prometheus text: totals in, bytes out. Pure functions."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from addon.counts import BUCKETS

type Totals = Mapping[tuple[str, ...], int]

_COUNTERS = {
    "requests": ("proxy_requests", "Requests that are over, by method and status; 0: no answer.", "method|status_code"),
    "lookups": ("proxy_lookups", "Genuine tokens looked up, by the tier that knew them.", "tier"),
    "refusals": ("proxy_refusals", "Requests answered with an error of ours, by code.", "code"),
    "broken_off": ("proxy_broken_off", "Exchanges that ended early without an error answer, by code.", "code"),
    "bytes": ("proxy_bytes", "Body bytes carried, from the client (in) and to it (out).", "direction"),
    "log_dropped": ("proxy_access_log_dropped", "Lines of the access log that could not be written.", ""),
    "trail_dropped": ("proxy_trail_dropped", "Requests that were not kept for their owners to see.", ""),
}
_HISTOGRAMS = {
    "latency": ("proxy_latency_seconds", "From a request's head to the head of its reply.", ""),
    "db": ("db_query_duration_seconds", "Calls of the gateway to PostgreSQL.", "query_type"),
    "redis": ("redis_operation_duration_seconds", "Calls of the gateway to Redis.", "operation"),
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """What all workers have counted, and what they are at: open connections, flush backlog, database connected.

    `totals` and `workers` are None while Redis is silent, and the gauges are then those of one worker.
    """

    totals: Totals | None
    gauges: tuple[int, ...]
    workers: int | None


def exposition(fleet: Fleet) -> bytes:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(fleet))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; counters are left out while nobody knows their totals."""
        fleet = self._fleet
        connections, backlog, database = fleet.gauges
        yield GaugeMetricFamily("proxy_open_connections", "Client connections that are open.", connections)
        yield GaugeMetricFamily("proxy_flush_backlog", "Sessions whose counts are not in the database yet.", backlog)
        yield GaugeMetricFamily("database_connected", "Whether every worker reaches PostgreSQL.", database)
        yield GaugeMetricFamily("redis_connected", "Whether Redis answers.", int(fleet.totals is not None))
        if fleet.workers is not None:
            yield GaugeMetricFamily("proxy_workers", "Workers that report.", fleet.workers)
        if fleet.totals is not None:
            yield from _counters(fleet.totals)
            yield from _histograms(fleet.totals)


def _counters(totals: Totals) -> Iterator[Metric]:
    for kind, (name, text, labels) in _COUNTERS.items():
        names = labels.split("|") if labels else []
        family = CounterMetricFamily(name, text, labels=names)
        found = {key[1 : 1 + len(names)]: count for key, count in totals.items() if key[0] == kind}
        for values, count in sorted(found.items()) if names else [((), sum(found.values()))]:
            family.add_metric(values, count)
        yield family


def _histograms(totals: Totals) -> Iterator[Metric]:
    for kind, (name, text, label) in _HISTOGRAMS.items():
        family = HistogramMetricFamily(name, text, labels=[label] if label else [])
        counted: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        if not label:
            counted[""]  # a histogram without labels is there before the first observation
        for key, count in totals.items():
            if key[0] == kind:
                counted[key[1]][int(key[2])] = count
        for value, counts in sorted(counted.items()):
            ends = [*(str(end) for end in BUCKETS), "+Inf"]
            buckets = [(end, sum(counts[: index + 1])) for index, end in enumerate(ends)]
            seconds = totals.get((f"{kind}_sum", value), 0) / 1_000_000
            family.add_metric([value] if label else [], buckets, seconds)
        yield family
