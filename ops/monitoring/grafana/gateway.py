"""What the proxy does with requests, and how it feels while doing so."""

from ops.monitoring.grafana.panels import UP, Board, Panel, Variable, stat

_QUANTILE = "histogram_quantile({}, max by (le) (rate(proxy_latency_seconds_bucket[$__rate_interval])))"

GATEWAY = Board(
    "zenzefi-gateway",
    "Zenzefi: gateway",
    "What the proxy does with requests, and how it feels while doing so.",
    {
        "Now": (
            stat("Requests", "sum(gateway:requests:rate5m)", unit="reqps"),
            stat(
                "Good clients refused",
                "gateway:good_clients_refused:ratio5m",
                unit="percentunit",
                steps=(0.005, 0.02),
                alerts=("GoodClientsRefused",),
            ),
            stat("Slowest twentieth", "gateway:latency_seconds:p95", unit="s", steps=(1, 5)),
            stat("Open connections", "max(proxy_open_connections)", alerts=("ConnectionsNearlyFull",)),
            stat("Workers", "max(proxy_workers)", steps=(1,), falling=True, alerts=("WorkersMissing",)),
            stat("Upstream", "max(upstream_up)", words=UP, steps=(1,), falling=True, alerts=("UpstreamDown",)),
        ),
        "Requests": (
            Panel(
                "Requests by status",
                {"sum by (status_code) (gateway:requests:rate5m)": "{{status_code}}"},
                unit="reqps",
                stacked=True,
                text="0: the client left before it had an answer.",
                alerts=("GatewayErrors",),
            ),
            Panel(
                "Requests by method",
                {"sum by (method) (gateway:requests:rate5m)": "{{method}}"},
                unit="reqps",
                stacked=True,
            ),
            Panel(
                "Refusals by code",
                {'gateway:refusals:rate5m{code=~"$code"}': "{{code}}"},
                unit="reqps",
                stacked=True,
                text="What each code means stands in docs/gateway.md.",
                alerts=("GoodClientsRefused", "TokensGuessed"),
            ),
            Panel(
                "Broken off",
                {"max by (code) (rate(proxy_broken_off_total[$__rate_interval]))": "{{code}}"},
                unit="reqps",
            ),
            Panel(
                "Decisions of the gate",
                {"gateway:admissions:rate5m": "{{tier}}, {{outcome}}"},
                unit="reqps",
                stacked=True,
                text="Where the token was known: the worker's map, Redis, the database. none: no look-up was needed.",
            ),
            Panel("Bytes", {"gateway:bytes:rate5m": "{{direction}}"}, unit="Bps"),
        ),
        "Time": (
            Panel(
                "Time",
                {
                    _QUANTILE.format("0.5"): "half",
                    "gateway:latency_seconds:p95": "slowest twentieth",
                    _QUANTILE.format("0.99"): "slowest hundredth",
                    "gateway:upstream_seconds:p95": "of it the upstream, slowest twentieth",
                },
                unit="s",
                alerts=("UpstreamSlow",),
            ),
            Panel(
                "How late workers wake up",
                {"gateway:loop_lag_seconds:p99": "slowest hundredth"},
                unit="s",
                steps=(0.05, 0.1),
                alerts=("GatewayLagging",),
            ),
            Panel("Calls to PostgreSQL", {"gateway:db_query_duration_seconds:p95": "{{query_type}}"}, unit="s"),
            Panel("Calls to Redis", {"gateway:redis_operation_duration_seconds:p95": "{{operation}}"}, unit="s"),
        ),
        "State": (
            Panel(
                "Open connections", {"max(proxy_open_connections)": "connections"}, alerts=("ConnectionsNearlyFull",)
            ),
            Panel("Sessions with counts to be written", {"max(proxy_flush_backlog)": "sessions"}),
            Panel(
                "Upstream",
                {
                    "max by (address) (upstream_address_up)": "{{address}}",
                    "max(upstream_up)": "no outage",
                },
                alerts=("UpstreamAddressDown", "UpstreamUnwatched"),
            ),
            Panel("Probe of the upstream", {"max(upstream_probe_seconds)": "seconds"}, unit="s"),
            Panel(
                "Lost records",
                {
                    "max(rate(proxy_access_log_dropped_total[$__rate_interval]))": "lines of the access log",
                    "max(rate(proxy_trail_dropped_total[$__rate_interval]))": "requests for their owners",
                },
                unit="cps",
                alerts=("AccessLogLost",),
            ),
            Panel(
                "Certificates",
                {"min by (certificate) (certificate_expires_timestamp_seconds) - time()": "{{certificate}}"},
                unit="s",
                alerts=("CertificateEndsSoon", "CertificateEnds"),
            ),
        ),
    },
    (Variable("code", "Refusal", "label_values(proxy_refusals_total, code)"),),
)
