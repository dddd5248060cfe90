"""Every Prometheus metric of the platform: name, type, labels and help text.

The `/metrics` pages, docs/metrics.md and the tests of alerts and dashboards use this list.

A name is what Prometheus shows without the `_total` of counters. `key` is the first part of a field in Redis where
processes add up what they count.
"""

from dataclasses import dataclass
from enum import StrEnum

# The upper ends of buckets in seconds; one more bucket holds what took longer.
LATENCY = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
JOB = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)


class Kind(StrEnum):
    """What may become of a metric's value: only more, anything, or how often something took how long."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Side(StrEnum):
    """Who answers with it: `/_zenzefi/metrics` of any gateway worker, or `/metrics` of any portal process."""

    GATEWAY = "gateway"
    PORTAL = "portal"


class Scope(StrEnum):
    """What it tells about: everything of its kind, whoever is asked, or the processes behind one address."""

    ALL = "all"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `text` is one sentence for people."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    key: str = ""
    buckets: tuple[float, ...] = LATENCY
    scope: Scope = Scope.ALL

    @property
    def shown(self) -> str:
        """The name under which its values are asked for."""
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
        "Requests that are over, by method and status; 0: no answer.",
        *("method", "status_code"),
        key="requests",
    ),
    _histogram("proxy_latency_seconds", "From a request's head to the head of its reply.", key="latency"),
    _histogram(
        "proxy_upstream_seconds",
        "From a request's head being sent to the upstream to the head of its reply.",
        key="upstream",
    ),
    _counter(
        "proxy_admissions",
        "Requests that the gate decided on, by the tier that knew the token and what came of it.",
        *("tier", "outcome"),
        key="admissions",
    ),
    _counter("proxy_refusals", "Requests answered with an error of ours, by code.", "code", key="refusals"),
    _counter(
        "proxy_broken_off", "Exchanges that ended early without an error answer, by code.", "code", key="broken_off"
    ),
    _counter("proxy_bytes", "Body bytes carried, from the client (in) and to it (out).", "direction", key="bytes"),
    _gauge("proxy_open_connections", "Client connections that are open."),
    _gauge("proxy_flush_backlog", "Sessions whose counts are not in the database yet."),
    _histogram("proxy_loop_lag_seconds", "How late a worker woke up, ten times a second.", key="lag", buckets=LAG),
    _gauge("proxy_workers", "Workers that reported within the last five seconds."),
    _counter("proxy_access_log_dropped", "Lines of the access log that could not be written.", key="log_dropped"),
    _counter("proxy_trail_dropped", "Requests that were not kept for their owners to see.", key="trail_dropped"),
    _counter("proxy_flows_sent", "Flows that are shown to operators, while an admin wants it.", key="flows_sent"),
    _counter(
        "proxy_flows_dropped",
        "Flows that were to be shown and are not, by reason: busy, rate, queue, large, redis.",
        "reason",
        key="flows_dropped",
    ),
    _histogram(
        "db_query_duration_seconds", "Calls of the gateway to PostgreSQL, by what they are for.", "query_type", key="db"
    ),
    _histogram(
        "redis_operation_duration_seconds",
        "Calls of the gateway to Redis, by what they are for.",
        "operation",
        key="redis",
    ),
    _gauge("database_connected", "Whether every worker reaches PostgreSQL."),
    _gauge("redis_connected", "Whether Redis answers the worker that was asked."),
    _gauge("upstream_up", "Whether no outage of the upstream is open; missing while nobody probes."),
    _gauge("upstream_address_up", "Whether an address of the upstream answered the last probe.", "address"),
    _gauge("upstream_probe_seconds", "How long the last probe of the upstream took."),
    _gauge(
        "certificate_expires_timestamp_seconds",
        "When a certificate ends: the workers' own, the public addresses', the upstream's, and ours for the upstream.",
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
        "Requests that ended with an error that nobody caught.",
        ("method", "status"),
        scope=Scope.INSTANCE,
    ),
    Metric(
        "portal_exporter_info",
        Kind.GAUGE,
        "The version of what counts the portal's requests.",
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
    _counter("auth_attempts", "Logins that were tried, by result.", "result"),
    _counter("token_purchases", "Tokens that were sold, those of bundles included, by duration.", "duration_hours"),
    _counter("token_revocations", "Tokens that were ended by their owners or by admins."),
    _counter("balance_deposits", "Payments that were credited."),
    _gauge("user_count", "Accounts there are."),
    _gauge("active_tokens", "Tokens whose clock runs."),
    _gauge("active_sessions", "Proxy sessions that are open."),
    _gauge("payments_pending", "Payments that their buyers have not made yet."),
    _gauge("payments_to_review", "Payment callbacks that no rule could decide and a person must."),
    _gauge("ledger_account_znc", "Balances of the platform's own accounts; `sales` is what was sold.", "account"),
    _gauge("ledger_verified_timestamp_seconds", "When the books were last verified."),
    _gauge("ledger_sound", "Whether the books added up then."),
    _gauge("audit_verified_timestamp_seconds", "When the audit log's chain was last verified."),
    _gauge("audit_sound", "Whether it held then."),
    _gauge("backup_last_success_timestamp_seconds", "When the last backup was made that is whole where it should be."),
    _gauge("backup_size_bytes", "How large it is."),
    _gauge(
        "backlog_waiting",
        "Mails, deliveries, callbacks, refunds and audit rows (1,000 at most) that wait.",
        "of",
    ),
    _gauge("backlog_oldest_seconds", "How long the first of those has been due.", "of"),
    _gauge("backlog_given_up", "Mails and deliveries of the last seven days that were given up.", "of"),
    _counter("notices_sent", "Attempts to send a mail or a delivery to a webhook, by result.", "of", "result"),
    _gauge("jobs_waiting", "Jobs that wait in the queue.", "queue"),
    _gauge("jobs_oldest_seconds", "How long the first of them has waited.", "queue"),
    _gauge("jobs_failed", "Jobs that failed for good and are kept.", "queue"),
    _gauge("job_workers", "Processes that work on the queue.", "queue"),
    _gauge("job_scheduler_up", "Whether the scheduler lives."),
    _counter("job_runs", "Runs of jobs, by result; a failed one may be tried again.", "task", "result"),
    _histogram("job_duration_seconds", "How long jobs ran.", "task", key="job_duration", buckets=JOB),
    _gauge("job_last_success_timestamp_seconds", "When a job last succeeded.", "task"),
    _gauge("database_connected", "Whether PostgreSQL answers the portal."),
    _gauge("redis_connected", "Whether Redis answers the portal."),
)

METRICS = {Side.GATEWAY: GATEWAY, Side.PORTAL: PORTAL}
