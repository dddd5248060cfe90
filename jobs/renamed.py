"""Former names of jobs: jobs that an older release left in Redis run under their present names."""

from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq.job import Job

from models.metrics.audit_counters import TOTALS_KEY
from models.services.monitoring.last_success import JOBS_KEY

# Former dotted path -> present one. A path stays in Redis as long as a queued, scheduled, retried or failed job has it.
CURRENT_NAMES = {
    "jobs.accounts.carry_debts": "jobs.email_links.carry_debts",
    "jobs.accounts.forget_links": "jobs.email_links.delete_expired_links",
    "jobs.accounts.send_links": "jobs.email_links.send_links",
    "jobs.audit.seal": "jobs.audit.chain_new_rows",
    "jobs.backups.make": "jobs.backups.create",
    "jobs.certificates.look": "jobs.certificates.check",
    "jobs.clocks.credit_outages": "jobs.token_time.credit_outages",
    "jobs.clocks.end_pauses": "jobs.token_time.end_pauses",
    "jobs.clocks.pause_for_debt": "jobs.token_time.pause_for_debt",
    "jobs.clocks.renew": "jobs.token_time.renew",
    "jobs.clocks.tell_of_ends": "jobs.token_time.notify_expiries",
    "jobs.clocks.tell_renewals": "jobs.token_time.notify_renewals",
    "jobs.clocks.vest_bonuses": "jobs.token_time.vest_bonuses",
    "jobs.mail.send_waiting": "jobs.mail.send_pending",
    "jobs.upkeep.close_sessions": "jobs.cleanup.close_sessions",
    "jobs.upkeep.count_days": "jobs.cleanup.count_days",
    "jobs.upkeep.forget_entries": "jobs.cleanup.delete_browser_access",
    "jobs.upkeep.forget_logins": "jobs.cleanup.delete_ended_logins",
    "jobs.upkeep.forget_notices": "jobs.cleanup.delete_old_notifications",
    "jobs.upkeep.forget_replies": "jobs.cleanup.delete_idempotent_replies",
    "jobs.upkeep.verify_ledger": "jobs.cleanup.verify_ledger",
    "jobs.webhooks.send_waiting": "jobs.webhooks.send_pending",
}


class CurrentJob(Job):
    """An RQ job that is loaded under its present name; worker, metrics and the admin area see no other."""

    def _deserialize_data(self) -> None:
        super()._deserialize_data()  # type: ignore[no-untyped-call]  # RQ's own
        self._func_name: Any = CURRENT_NAMES.get(self._func_name, self._func_name)


def rename_metrics(redis: Redis) -> None:
    """Move what was counted under former names to the present ones; a second run changes nothing.

    A last success under a former name is never renewed, so JobNotSucceeding would fire for ever.
    """
    # A transaction with WATCH: a second scheduler at the same moment would add everything twice.
    redis.transaction(_move_fields, TOTALS_KEY, JOBS_KEY)


def _move_fields(pipeline: Pipeline) -> None:
    totals, succeeded = (_decoded(pipeline.hgetall(key)) for key in (TOTALS_KEY, JOBS_KEY))
    pipeline.multi()
    for field, count in totals.items():
        metric, _, labels = field.partition("|")
        name, *others = labels.split("|")
        if metric.startswith("job_") and name in CURRENT_NAMES:
            pipeline.hincrby(TOTALS_KEY, "|".join([metric, CURRENT_NAMES[name], *others]), int(count))
            pipeline.hdel(TOTALS_KEY, field)
    for name, moment in succeeded.items():
        if current := CURRENT_NAMES.get(name):
            pipeline.hset(JOBS_KEY, current, max(moment, succeeded.get(current, "0"), key=float))
            pipeline.hdel(JOBS_KEY, name)


def _decoded(found: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.items()}
