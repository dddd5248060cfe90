"""Rendering of the gateway's counters and gauges as Prometheus text. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.metrics import prometheus
from models.metrics.catalogue import GATEWAY
from models.metrics.prometheus import Totals
from models.services.gateway.outages import UpstreamState


@dataclass(frozen=True, slots=True)
class GatewayTotals:
    """Counters and gauges of all workers; the gauges are the fields of `WorkerGauges`.

    `totals` and `workers` are None while Redis is down, and the gauges are then those of one worker. `upstream` is None
    without a recent probe; `certificates` are the Unix times of their expiry.
    """

    totals: Totals | None
    gauges: tuple[int, ...]
    workers: int | None
    upstream: UpstreamState | None = None
    certificates: Mapping[str, float] = field(default_factory=dict)


def render(gateway: GatewayTotals) -> bytes:
    """Return the metrics in Prometheus' text format."""
    return prometheus.text_of(prometheus.families(GATEWAY, _gauge_values(gateway), gateway.totals))


def _gauge_values(gateway: GatewayTotals) -> prometheus.GaugeValues:
    connections, backlog, database, upstream_open, upstream_idle = gateway.gauges
    plain: dict[str, float | None] = {
        "proxy_open_connections": connections,
        "proxy_flush_backlog": backlog,
        "proxy_workers": gateway.workers,
        "database_connected": database,
        "redis_connected": int(gateway.totals is not None),
    }
    found: dict[str, dict[tuple[str, ...], float]] = {
        "proxy_upstream_connections": {("busy",): upstream_open - upstream_idle, ("idle",): upstream_idle}
    }
    ends = dict(gateway.certificates)
    if (upstream := gateway.upstream) is not None:
        plain |= {"upstream_up": upstream.is_up, "upstream_probe_seconds": upstream.seconds}
        found["upstream_address_up"] = {(name,): is_up for name, is_up in upstream.addresses.items()}
        if upstream.certificate_ends is not None:
            ends["upstream"] = upstream.certificate_ends
    if ends:
        found["certificate_expires_timestamp_seconds"] = {(name,): end for name, end in ends.items()}
    found |= {name: {(): float(value)} for name, value in plain.items() if value is not None}
    return found
