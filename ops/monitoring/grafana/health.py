"""Whether everything works, and what is about to go wrong."""

from ops.monitoring.grafana.panels import DAY, UP, Board, Panel, Variable, stat

FIRING = 'ALERTS{alertstate="firing"}'

HEALTH = Board(
    "zenzefi-health",
    "Zenzefi: health",
    "Whether everything works, and what is about to go wrong.",
    {
        "Now": (
            stat("Alerts that fire", f"count({FIRING}) or vector(0)", steps=(1,), text="The table below names them."),
            stat("Upstream", "max(upstream_up)", words=UP, steps=(1,), falling=True, alerts=("UpstreamDown",)),
            stat(
                "PostgreSQL",
                "min(database_connected)",
                words=UP,
                steps=(1,),
                falling=True,
                alerts=("DatabaseUnreachable",),
            ),
            stat("Redis", "min(redis_connected)", words=UP, steps=(1,), falling=True, alerts=("RedisUnreachable",)),
            stat("Scheduler", "max(job_scheduler_up)", words=UP, steps=(1,), falling=True, alerts=("SchedulerDown",)),
            stat("Gateway workers", "max(proxy_workers)", steps=(1,), falling=True, alerts=("WorkersMissing",)),
            stat(
                "Books",
                "min(ledger_sound)",
                words=("do not add up", "sound"),
                steps=(1,),
                falling=True,
                alerts=("LedgerNotBalanced",),
            ),
            stat(
                "Audit log",
                "min(audit_sound)",
                words=("was altered", "holds"),
                steps=(1,),
                falling=True,
                alerts=("AuditLogAltered", "AuditLogNotVerified", "AuditLogUnsealed"),
            ),
            stat(
                "Since the books were verified",
                "time() - max(ledger_verified_timestamp_seconds)",
                unit="s",
                steps=(1.1 * DAY, 1.5 * DAY),
                alerts=("LedgerNotVerified",),
            ),
            stat(
                "Since the last good backup",
                "time() - max(backup_last_success_timestamp_seconds)",
                unit="s",
                steps=(1.1 * DAY, 1.25 * DAY),
                alerts=("BackupTooOld", "BackupMissing"),
            ),
            stat("Size of the backup", "max(backup_size_bytes)", unit="bytes"),
            stat(
                "First certificate to end",
                "min(certificate_expires_timestamp_seconds) - time()",
                unit="s",
                steps=(3 * DAY, 14 * DAY),
                falling=True,
                alerts=("CertificateEndsSoon", "CertificateEnds"),
            ),
            stat("Instances that answer", 'count(up{job=~"gateway|portal"} == 1)', alerts=("InstanceDown",)),
            Panel(
                "Alerts that fire",
                {FIRING: ""},
                kind="table",
                width=24,
                text="What each means stands in docs/alerts.md.",
            ),
        ),
        "What people feel": (
            Panel(
                "Answers with 5xx",
                {
                    "gateway:server_errors:ratio5m": "gateway",
                    "portal:server_errors:ratio5m": "portal",
                    "gateway:good_clients_refused:ratio5m": "good clients refused",
                },
                unit="percentunit",
                steps=(0.02, 0.05),
                alerts=("GatewayErrors", "PortalErrors", "GoodClientsRefused"),
            ),
            Panel(
                "Slowest twentieth",
                {
                    "gateway:latency_seconds:p95": "gateway",
                    "gateway:upstream_seconds:p95": "of it the upstream",
                    "portal:latency_seconds:p95": "portal",
                },
                unit="s",
                steps=(1, 5),
                alerts=("UpstreamSlow", "PortalSlow"),
            ),
        ),
        "The portal": (
            Panel(
                "Requests by status",
                {"sum by (status) (portal:requests:rate5m)": "{{status}}"},
                unit="reqps",
                stacked=True,
            ),
            Panel(
                "Slowest views",
                {
                    "topk(8, histogram_quantile(0.95, sum by (le, endpoint) "
                    "(rate(portal_http_request_duration_seconds_bucket[$__rate_interval]))))": "{{endpoint}}"
                },
                unit="s",
            ),
            Panel("Statements", {"portal:db_query_duration_seconds:p95": "{{query_type}}"}, unit="s"),
            Panel(
                "Errors that nobody caught",
                {"sum(rate(portal_http_request_exceptions_total[$__rate_interval]))": "errors"},
                unit="reqps",
            ),
        ),
        "Jobs": (
            Panel(
                "First job in the queue",
                {"max by (queue) (jobs_oldest_seconds)": "{{queue}}"},
                unit="s",
                steps=(30, 60),
                alerts=("JobsWait", "NoJobWorker"),
            ),
            Panel(
                "Waiting, and failed for good",
                {
                    "max by (queue) (jobs_waiting)": "{{queue}}, waiting",
                    "max by (queue) (jobs_failed)": "{{queue}}, failed",
                },
                alerts=("JobFailedForGood",),
            ),
            Panel(
                "Failed runs",
                {'max by (task) (increase(job_runs_total{result="failed", task=~"$task"}[15m]))': "{{task}}"},
                steps=(3,),
                alerts=("JobFails",),
            ),
            Panel("How long jobs take", {'jobs:duration_seconds:p95{task=~"$task"}': "{{task}}"}, unit="s"),
            Panel(
                "Since a job last succeeded",
                {'time() - max by (task) (job_last_success_timestamp_seconds{task=~"$task"})': "{{task}}"},
                unit="s",
                alerts=("JobNotSucceeding",),
            ),
            Panel("Workers", {"max by (queue) (job_workers)": "{{queue}}"}, alerts=("NoJobWorker",)),
        ),
        "What waits in the database": (
            Panel("Waiting", {"max by (of) (backlog_waiting)": "{{of}}"}),
            Panel(
                "First one that is due",
                {"max by (of) (backlog_oldest_seconds)": "{{of}}"},
                unit="s",
                steps=(120, 600),
                alerts=("PaymentsStuck", "RefundsStuck", "MailStuck", "WebhooksStuck"),
            ),
            Panel("Given up within a week", {"max by (of) (backlog_given_up)": "{{of}}"}, alerts=("MailGivenUp",)),
            Panel(
                "Attempts to send",
                {"max by (of, result) (rate(notices_sent_total[$__rate_interval]))": "{{of}}, {{result}}"},
                unit="cps",
                alerts=("MailFails",),
            ),
        ),
    },
    (Variable("task", "Job", "label_values(job_runs_total, task)"),),
)
