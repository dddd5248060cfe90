"""Conversion of counts and gauges to Prometheus metric families. Pure functions."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from models.metrics.catalogue import Kind, Metric

# Counters of all processes: a metric's key and its label values. A histogram has the bucket's number in addition, and
# the key `<key>_sum` for the microseconds.
type Totals = Mapping[tuple[str, ...], int]
# Gauges: a metric's name, its label values, and the value.
type GaugeValues = Mapping[str, Mapping[tuple[str, ...], float]]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text_of(families: Iterable[Family]) -> bytes:
    """Write families in the Prometheus text format."""

    class _Once(Collector):
        def collect(self) -> Iterator[Family]:
            yield from families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once())
    return generate_latest(registry)


def families(metrics: Iterable[Metric], figures: GaugeValues, totals: Totals | None) -> Iterator[Family]:
    """Yield the families of all metrics that have values.

    A gauge without a value is left out; so are counters and histograms while the totals are unavailable: a gap is
    harmless, while a decrease would be read as a restart.
    """
    by_key: defaultdict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
    for (key, *values), count in (totals or {}).items():
        by_key[key][tuple(values)] = count
    for metric in metrics:
        if metric.kind is Kind.GAUGE:
            if metric.name in figures:
                yield _gauge(metric, figures[metric.name])
        elif totals is not None and metric.key:
            of_it = by_key[metric.key]
            yield _counter(metric, of_it) if metric.kind is Kind.COUNTER else _histogram(metric, of_it, by_key)


def _gauge(metric: Metric, values: Mapping[tuple[str, ...], float]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _counter(metric: Metric, counted: Mapping[tuple[str, ...], int]) -> Family:
    width = len(metric.labels)
    # A metric without labels is exposed before its first count.
    found: defaultdict[tuple[str, ...], int] = defaultdict(int, {} if width else {(): 0})
    for values, count in counted.items():
        found[values[:width]] += count
    family = CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
    for values, count in sorted(found.items()):
        family.add_metric(values, count)
    return family


def _histogram(
    metric: Metric,
    counted: Mapping[tuple[str, ...], int],
    by_key: Mapping[str, Mapping[tuple[str, ...], int]],
) -> Family:
    ends = [*(str(end) for end in metric.buckets), "+Inf"]
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(ends))
    if not metric.labels:
        found[""]
    for (value, number), count in counted.items():
        found[value][int(number)] = count
    family = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    microseconds = by_key[f"{metric.key}_sum"]
    for value, counts in sorted(found.items()):
        buckets = [(end, sum(counts[: index + 1])) for index, end in enumerate(ends)]
        labels = [value] if metric.labels else []
        family.add_metric(labels, buckets, microseconds.get((value,), 0) / 1_000_000)
    return family
