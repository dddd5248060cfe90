"""Every Prometheus metric of the platform: name, type, labels and help text.

The `/metrics` pages, docs/metrics.md and the tests of alerts and dashboards use this list.

A name is what Prometheus shows without the `_total` of counters. `key` is the first part of a field in Redis where
processes add up what they count.
"""

from dataclasses import dataclass
from enum import StrEnum

# Upper bounds of histogram buckets, in seconds.
LATENCY = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
JOB = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)


class Kind(StrEnum):
    """Metric types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Side(StrEnum):
    """Endpoint of a metric: `/_zenzefi/metrics` of the gateway workers or `/metrics` of the portal."""

    GATEWAY = "gateway"
    PORTAL = "portal"


class Scope(StrEnum):
    """Whether a value covers the whole installation or the processes of one instance."""

    ALL = "all"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `text` is its help text."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    key: str = ""
    buckets: tuple[float, ...] = LATENCY
    scope: Scope = Scope.ALL

    @property
    def shown(self) -> str:
        """The exposed name."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


def _counter(name: str, text: str, *labels: str, key: str = "") -> Metric:
    return Metric(name, Kind.COUNTER, text, labels, key or name)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, text, labels)


def _histogram(name: str, text: str, *labels: str, key: str, buckets: tuple[float, ...] = LATENCY) -> Metric:
    return Metric(name, Kind.HISTOGRAM, text, labels, key, buckets)


GATEWAY = (
    _counter(
        "proxy_requests",
        "Finished requests, by method and status; 0: no response.",
        *("method", "status_code"),
        key="requests",
    ),
    _histogram("proxy_latency_seconds", "Time from a request's head to the head of its response.", key="latency"),
    _histogram(
        "proxy_upstream_seconds",
        "Time from sending a request's head to the upstream to the head of its response.",
        key="upstream",
    ),
    _counter(
        "proxy_admissions",
        "Decisions of the gate, by the tier where the token was found and outcome.",
        *("tier", "outcome"),
        key="admissions",
    ),
    _gauge("proxy_upstream_connections", "Open connections of the workers to the upstream, busy or idle.", "state"),
    _counter("proxy_upstream_connections_opened", "Connections opened to the upstream.", key="upstream_opened"),
    _counter("proxy_upstream_connections_reused", "Exchanges on a kept upstream connection.", key="upstream_reused"),
    _counter(
        "proxy_upstream_connections_closed",
        "Closed upstream connections, by reason: idle, upstream, surplus, unusable, aborted, failed, evicted, client, "
        "max_requests, max_age, reload, stopping.",
        "reason",
        key="upstream_closed",
    ),
    _histogram(
        "proxy_upstream_connection_wait_seconds",
        "Time from a request's need for an upstream connection until a new one was open.",
        key="upstream_wait",
    ),
    _counter("proxy_refusals", "Requests rejected with an error of the gateway, by code.", "code", key="refusals"),
    _counter(
        "proxy_broken_off", "Exchanges that ended early without an error response, by code.", "code", key="broken_off"
    ),
    _counter("proxy_bytes", "Body bytes forwarded, from the client (in) and to it (out).", "direction", key="bytes"),
    _gauge("proxy_open_connections", "Open client connections."),
    _gauge("proxy_flush_backlog", "Sessions whose counts are not yet written to the database."),
    _histogram("proxy_loop_lag_seconds", "Event loop lag of a worker, sampled twice a second.", key="lag", buckets=LAG),
    _gauge("proxy_workers", "Workers that reported within the last five seconds."),
    _counter("proxy_access_log_dropped", "Lines of the access log that could not be written.", key="log_dropped"),
    _counter("proxy_trail_dropped", "Requests dropped from the recent-requests buffer.", key="trail_dropped"),
    _counter("proxy_flows_sent", "Flows sent to mitmweb during an inspection.", key="flows_sent"),
    _counter(
        "proxy_flows_dropped",
        "Flows of an inspection that were dropped, by reason: busy, rate, queue, large, redis.",
        "reason",
        key="flows_dropped",
    ),
    _histogram("db_query_duration_seconds", "Calls of the gateway to PostgreSQL, by purpose.", "query_type", key="db"),
    _histogram(
        "redis_operation_duration_seconds",
        "Calls of the gateway to Redis, by purpose.",
        "operation",
        key="redis",
    ),
    _gauge("database_connected", "Whether every worker reaches PostgreSQL."),
    _gauge("redis_connected", "Whether Redis answers the scraped worker."),
    _gauge("upstream_up", "Whether no outage of the upstream is open; missing while it is not probed."),
    _gauge("upstream_address_up", "Whether an address of the upstream answered the last probe.", "address"),
    _gauge("upstream_probe_seconds", "Duration of the last probe of the upstream."),
    _gauge(
        "certificate_expires_timestamp_seconds",
        "Expiry of certificates: of the workers, the public addresses, the upstream, and the client certificate.",
        "certificate",
    ),
)

PORTAL = (
    Metric(
        "portal_http_request_duration_seconds",
        Kind.HISTOGRAM,
        "Requests for pages and for the API, by view.",
        ("endpoint", "method", "status"),
        scope=Scope.INSTANCE,
    ),
    Metric(
        "portal_http_request",
        Kind.COUNTER,
        "The same requests, by method and status.",
        ("method", "status"),
        scope=Scope.INSTANCE,
    ),
    Metric(
        "portal_http_request_exceptions",
        Kind.COUNTER,
        "Requests that ended with an unhandled exception.",
        ("method", "status"),
        scope=Scope.INSTANCE,
    ),
    Metric(
        "portal_exporter_info",
        Kind.GAUGE,
        "Version of the exporter of the portal's requests.",
        ("version",),
        scope=Scope.INSTANCE,
    ),
    Metric(
        "db_query_duration_seconds",
        Kind.HISTOGRAM,
        "Statements of the portal, by their first word.",
        ("query_type",),
        scope=Scope.INSTANCE,
    ),
    _counter("auth_attempts", "Login attempts, by result.", "result"),
    _counter("token_purchases", "Tokens sold, including those of bundles, by duration.", "duration_hours"),
    _counter("token_revocations", "Tokens revoked by their owners or by admins."),
    _counter("balance_deposits", "Credited payments."),
    _gauge("user_count", "Number of accounts."),
    _gauge("active_tokens", "Activated tokens with remaining time."),
    _gauge("active_sessions", "Open proxy sessions."),
    _gauge("payments_pending", "Payments that are not paid yet."),
    _gauge("payments_to_review", "Payment callbacks that need a manual review."),
    _gauge("ledger_account_znc", "Balances of the platform's own accounts; `sales` is the revenue.", "account"),
    _gauge("ledger_verified_timestamp_seconds", "Time of the last ledger verification."),
    _gauge("ledger_sound", "Whether the last ledger verification passed."),
    _gauge("audit_verified_timestamp_seconds", "Time of the last verification of the audit log's chain."),
    _gauge("audit_sound", "Whether that verification passed."),
    _gauge("backup_last_success_timestamp_seconds", "Time of the last complete backup."),
    _gauge("backup_size_bytes", "Size of that backup."),
    _gauge(
        "backlog_waiting",
        "Pending mails, deliveries, callbacks, refunds and audit rows (1,000 at most).",
        "of",
    ),
    _gauge("backlog_oldest_seconds", "How long the oldest of those has been due.", "of"),
    _gauge("backlog_given_up", "Mails and deliveries of the last seven days that failed permanently.", "of"),
    _counter("notices_sent", "Attempts to send a mail or a delivery to a webhook, by result.", "of", "result"),
    _gauge("jobs_waiting", "Jobs in the queue.", "queue"),
    _gauge("jobs_oldest_seconds", "Age of the oldest of them.", "queue"),
    _gauge("jobs_failed", "Jobs that failed permanently.", "queue"),
    _gauge("job_workers", "Worker processes of the queue.", "queue"),
    _gauge("job_scheduler_up", "Whether the scheduler runs."),
    _counter("job_runs", "Runs of jobs, by result; failed ones may be retried.", "task", "result"),
    _histogram("job_duration_seconds", "Duration of jobs.", "task", key="job_duration", buckets=JOB),
    _gauge("job_last_success_timestamp_seconds", "Time of the last success of a job.", "task"),
    _gauge("database_connected", "Whether PostgreSQL answers the portal."),
    _gauge("redis_connected", "Whether Redis answers the portal."),
)

METRICS = {Side.GATEWAY: GATEWAY, Side.PORTAL: PORTAL}
