"""The job schedule, and its reconciliation with Redis at every start."""

import math
import re
from dataclasses import dataclass

from redis import Redis
from rq.job import Job, JobStatus
from rq_scheduler import Scheduler
from rq_scheduler.utils import get_next_scheduled_time

from jobs.queues import (
    KEEP_RESULT_SECONDS,
    QUEUE,
    SCHEDULER_KEY,
    SCHEDULER_SECONDS,
    SLOW_QUEUE,
    SLOW_TIMEOUT_SECONDS,
    TIMEOUT_SECONDS,
)
from models import clock
from models.services.monitoring.health_report import CHECKED_EVERY_SECONDS

# The times of a job's runs are multiples of this.
STEP_SECONDS = 5
# rq-scheduler's lock expires ten seconds after this.
POLL_SECONDS = 1
PREFIX = "schedule-"
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A job that runs every `every` seconds or by `cron` (UTC); a `slow` one runs on the slow queue."""

    job: str
    every: int | None = None
    cron: str | None = None
    slow: bool = False

    @property
    def queue(self) -> str:
        return SLOW_QUEUE if self.slow else QUEUE

    @property
    def timeout(self) -> int:
        """Time limit in seconds."""
        return SLOW_TIMEOUT_SECONDS if self.slow else TIMEOUT_SECONDS

    @property
    def id(self) -> str:
        """An id derived from all fields, so that a changed entry replaces the old one. RQ allows no dots or colons."""
        return _NOT_IN_IDS.sub("-", f"{PREFIX}{self.job}-{self.every or self.cron}{'-slow' if self.slow else ''}")


SCHEDULE = (
    # Enqueues the jobs below that have something to do, so that they are seldom due themselves.
    ScheduledJob("jobs.due_work.enqueue_due", every=10),
    ScheduledJob("jobs.email_links.send_links", every=300),
    ScheduledJob("jobs.mail.send_pending", every=300),
    ScheduledJob("jobs.webhooks.send_pending", every=300),
    ScheduledJob("jobs.audit.chain_new_rows", every=300),
    ScheduledJob("jobs.token_time.end_pauses", every=300),
    ScheduledJob("jobs.token_time.pause_for_debt", every=300),
    ScheduledJob("jobs.token_time.credit_outages", every=300),
    ScheduledJob("jobs.payments.sweep_events", every=300),
    ScheduledJob("jobs.token_time.renew", every=60),
    ScheduledJob("jobs.token_time.notify_renewals", every=300),
    ScheduledJob("jobs.token_time.notify_expiries", every=300),
    ScheduledJob("jobs.token_time.vest_bonuses", every=600),
    ScheduledJob("jobs.payments.sweep_refunds", every=300),
    ScheduledJob("jobs.payments.ask_providers", every=300),
    ScheduledJob("jobs.payments.expire_pending", every=300),
    ScheduledJob("jobs.health.check", every=CHECKED_EVERY_SECONDS),
    ScheduledJob("jobs.cleanup.close_sessions", every=60),
    ScheduledJob("jobs.cleanup.delete_idempotent_replies", every=3600),
    ScheduledJob("jobs.cleanup.delete_browser_access", every=600),
    ScheduledJob("jobs.cleanup.delete_ended_logins", every=3600),
    ScheduledJob("jobs.email_links.carry_debts", every=300),
    ScheduledJob("jobs.email_links.delete_expired_links", every=3600),
    ScheduledJob("jobs.cleanup.count_days", every=300),
    ScheduledJob("jobs.cleanup.verify_ledger", cron="30 2 * * *", slow=True),
    ScheduledJob("jobs.audit.verify", cron="45 2 * * *", slow=True),
    ScheduledJob("jobs.backups.create", cron="0 3 * * *", slow=True),
    ScheduledJob("jobs.audit.archive", cron="0 4 * * *", slow=True),
    ScheduledJob("jobs.certificates.check", cron="20 * * * *", slow=True),
    ScheduledJob("jobs.cleanup.delete_old_notifications", cron="15 4 * * *"),
)


class AtomicScheduler(Scheduler):  # type: ignore[misc]  # rq-scheduler ships no types
    """rq-scheduler with a heartbeat and an atomic enqueue."""

    def enqueue_job(self, job: Job) -> None:
        """Enqueue a due `job` and reschedule it in one transaction.

        rq-scheduler removes the job from the schedule and adds it again in two steps: killed in between, it would lose
        the job until its next start, and a reader in between would see a gap.
        """
        cron, interval = job.meta.get("cron_string"), job.meta.get("interval")
        with self.connection.pipeline() as step:
            self.get_queue_for_job(job).enqueue_job(job, pipeline=step)
            if cron is not None:
                step.zadd(self.scheduled_jobs_key, {job.id: get_next_scheduled_time(cron).timestamp()})
            elif interval is not None:
                # In step with each other, jobs wake scheduler and worker together.
                again = clock.now().timestamp() + interval
                step.zadd(self.scheduled_jobs_key, {job.id: round(again / STEP_SECONDS) * STEP_SECONDS})
            else:
                step.zrem(self.scheduled_jobs_key, job.id)
            step.execute()

    def seconds_until_due(self) -> float:
        """Return the seconds until the next scheduled job is due; infinity when there is none."""
        first = self.connection.zrange(self.scheduled_jobs_key, 0, 0, withscores=True)
        return float(first[0][1]) - clock.now().timestamp() if first else math.inf

    def heartbeat(self) -> None:
        """Refresh the heartbeat key."""
        super().heartbeat()
        self.connection.set(SCHEDULER_KEY, clock.now().isoformat(), ex=SCHEDULER_SECONDS)

    def register_death(self) -> None:
        """Delete the heartbeat key."""
        super().register_death()
        self.connection.delete(SCHEDULER_KEY)


def scheduler(connection: Redis) -> Scheduler:
    """Return the scheduler of this installation. It must run with TZ=UTC, or cron times shift."""
    return AtomicScheduler(queue_name=QUEUE, connection=connection, interval=POLL_SECONDS)


def reconcile(timetable: Scheduler, tasks: tuple[ScheduledJob, ...] = SCHEDULE) -> None:
    """Remove scheduled jobs that are no longer listed and add missing ones; a second run changes nothing."""
    wanted = {task.id: task for task in tasks}
    present = set()
    for job in timetable.get_jobs():
        if job.id in wanted:
            present.add(job.id)
        elif job.id.startswith(PREFIX):
            timetable.cancel(job)
            if job.get_status() == JobStatus.QUEUED:
                # Due just now: it still runs once, under its present name, and its record expires afterwards.
                timetable.connection.hset(job.key, "result_ttl", KEEP_RESULT_SECONDS)
            else:
                job.delete()
    for task_id in wanted.keys() - present:
        _add(timetable, wanted[task_id])


def _add(timetable: Scheduler, task: ScheduledJob) -> None:
    if task.cron is not None:
        timetable.cron(task.cron, task.job, id=task.id, queue_name=task.queue, timeout=task.timeout)
        return
    timetable.schedule(
        clock.now().replace(tzinfo=None),  # rq-scheduler reads naive times as UTC
        task.job,
        interval=task.every,
        id=task.id,
        queue_name=task.queue,
        timeout=task.timeout,
        # Keep it for ever: rq-scheduler silently drops a job whose record expires between two runs.
        result_ttl=-1,
    )
