"""Render the gateway's counters and gauges as Prometheus text. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.metrics import prometheus
from models.metrics.catalogue import GATEWAY
from models.metrics.prometheus import Totals
from models.services.gateway.outages import UpstreamState


@dataclass(frozen=True, slots=True)
class GatewayTotals:
    """What all workers have counted, and what they are at: the fields of `WorkerGauges`.

    `totals` and `workers` are None while Redis is silent, and the gauges are then those of one worker. `upstream` is
    None while nobody probes; `certificates` are Unix times of when each ends.
    """

    totals: Totals | None
    gauges: tuple[int, ...]
    workers: int | None
    upstream: UpstreamState | None = None
    certificates: Mapping[str, float] = field(default_factory=dict)


def render(fleet: GatewayTotals) -> bytes:
    """Return the metrics in Prometheus' text format."""
    return prometheus.text_of(prometheus.families(GATEWAY, _figures(fleet), fleet.totals))


def _figures(fleet: GatewayTotals) -> prometheus.GaugeValues:
    connections, backlog, database, upstream_open, upstream_idle = fleet.gauges
    plain: dict[str, float | None] = {
        "proxy_open_connections": connections,
        "proxy_flush_backlog": backlog,
        "proxy_workers": fleet.workers,
        "database_connected": database,
        "redis_connected": int(fleet.totals is not None),
    }
    found: dict[str, dict[tuple[str, ...], float]] = {
        "proxy_upstream_connections": {("busy",): upstream_open - upstream_idle, ("idle",): upstream_idle}
    }
    ends = dict(fleet.certificates)
    if (upstream := fleet.upstream) is not None:
        plain |= {"upstream_up": upstream.is_up, "upstream_probe_seconds": upstream.seconds}
        found["upstream_address_up"] = {(name,): is_up for name, is_up in upstream.addresses.items()}
        if upstream.certificate_ends is not None:
            ends["upstream"] = upstream.certificate_ends
    if ends:
        found["certificate_expires_timestamp_seconds"] = {(name,): end for name, end in ends.items()}
    found |= {name: {(): float(value)} for name, value in plain.items() if value is not None}
    return found
