"""Checks of background jobs: workers, scheduler, schedule, queues, and pending rows in the database."""

from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

from redis import Redis
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job
from sqlalchemy import text

from jobs.queues import QUEUE, SLOW_QUEUE, queue_status
from jobs.schedule import SCHEDULE, scheduler
from models import clock
from models.services.gateway import workers as gateway_workers
from models.services.monitoring import health_report
from ops.doctor.databases import connect
from ops.doctor.findings import Finding, Installation, Section, duration

LONG_QUEUE = 1000
LATE = timedelta(minutes=5)
SEE = Section.JOBS

# Rows that a scheduled job handles within a minute, with the time from which they are due.
_PENDING = {
    "Mails are sent": "SELECT count(*), min(next_attempt_at) FROM outbox_mails"
    " WHERE sent_at IS NULL AND failed_at IS NULL AND next_attempt_at < :now",
    "Webhooks are delivered": "SELECT count(*), min(d.next_attempt_at) FROM webhook_deliveries d"
    " JOIN webhook_endpoints e ON e.id = d.endpoint_id"
    " WHERE d.delivered_at IS NULL AND d.dead_at IS NULL AND d.next_attempt_at < :now"
    " AND e.enabled AND coalesce(e.rests_until, :now) <= :now",
    "Payment callbacks are settled": "SELECT count(*), min(received_at) FROM payment_events WHERE processed_at IS NULL",
}
_FAILED = text("""
    SELECT (SELECT count(*) FROM outbox_mails WHERE failed_at > :since) AS mails,
        (SELECT count(*) FROM webhook_deliveries WHERE dead_at > :since) AS posts,
        (SELECT count(*) FROM payment_events WHERE needs_review AND reviewed_at IS NULL) AS reviews""")


def examine(installation: Installation) -> Iterator[Finding]:
    """Check workers, scheduler, schedule and queues in Redis."""
    with connect(installation.settings.redis.url) as redis:
        found = queue_status(redis)
        yield from _workers(redis)
        do = "Start python -m jobs.scheduler, or the worker with --with-scheduler; see logs/worker.log."
        seen = "it enqueues due jobs" if found.is_scheduler_alive else "no heartbeat in 15 s"
        yield Finding("The scheduler runs", found.is_scheduler_alive, seen, do, SEE)
        present = {job.id for job in scheduler(redis).get_jobs()}
        missing = [task.job for task in SCHEDULE if task.id not in present]
        seen = f"not {', '.join(missing[:3])}" if missing else f"all {len(SCHEDULE)} tasks"
        do = "Restart the scheduler: it repairs the schedule."
        yield Finding("The schedule is complete", not missing, seen, do, SEE)
        for name, length in found.waiting.items():
            yield _queue(redis, name, length)
        do = "Retry or delete them in the admin area, Jobs."
        yield Finding(
            "No job failed permanently", not found.failed, f"{found.failed} of them", do, SEE, is_urgent=False
        )
        yield _report(redis)
        yield _gateway(redis)


def examine_pending(installation: Installation) -> Iterator[Finding]:
    """Check pending rows in the database; they also show jobs that were lost in Redis."""
    now = clock.now()
    with installation.sessions() as session:
        for what, query in _PENDING.items():
            waiting, oldest = session.execute(text(query), {"now": now}).one()
            age = now - oldest if oldest else timedelta()
            seen = f"{waiting} pending, the oldest {duration(age)}" if waiting else "none pending"
            do = "Check the workers above, then the worker's log."
            yield Finding(what, age < LATE, seen, do, Section.MAILS if "Mail" in what else SEE)
        gone: Any = session.execute(_FAILED, {"since": now - timedelta(days=1)}).one()
    seen = f"{gone.mails} mails and {gone.posts} webhook deliveries in a day"
    do = "The admin area, Mails, shows the reason of each."
    yield Finding("No mail failed permanently", not gone.mails, seen, do, Section.MAILS, is_urgent=False)
    do = "Decide about each in the admin area, Payments to review."
    what, seen = "No payment needs a manual review", f"{gone.reviews} of them"
    yield Finding(what, not gone.reviews, seen, do, Section.REVIEWS, is_urgent=False)


def _workers(redis: Redis) -> Iterator[Finding]:
    alive = Worker.all(redis)
    for name in (QUEUE, SLOW_QUEUE):
        of_this = [worker for worker in alive if name in worker.queue_names()]
        seen = ", ".join(f"{worker.name} {worker.get_state()}" for worker in of_this[:4]) or "none"
        do = "Start python -m jobs.worker; see logs/worker.log."
        yield Finding(f"A worker serves {name}", bool(of_this), seen, do, SEE)


def _queue(redis: Redis, name: str, length: int) -> Finding:
    ids, age = Queue(name, connection=redis).get_job_ids(0, 1), timedelta()
    if ids:
        try:
            began = Job.fetch(ids[0], redis).enqueued_at
        except NoSuchJobError:
            began = None
        if began is not None:
            age = clock.now() - (began if began.tzinfo else began.replace(tzinfo=UTC))
    seen = f"{length} queued" + (f", the oldest {duration(age)}" if ids else "")
    do = "Start more workers (docs/OPERATIONS.md), or check the oldest job."
    # A backup may take hours and delays the jobs behind it.
    is_well = name == SLOW_QUEUE or (length < LONG_QUEUE and age < LATE)
    return Finding(f"{name} is short", is_well, seen, do, SEE)


def _report(redis: Redis) -> Finding:
    report = health_report.from_json(redis.get(health_report.REPORT_KEY))
    seen = "none in two minutes" if report is None else health_report.status_of(report)
    do = "The job jobs.health.check runs every 50 seconds: check that worker and scheduler run."
    return Finding("The scheduled health check reports", report is not None, seen, do, SEE, is_urgent=False)


def _gateway(redis: Redis) -> Finding:
    gauges: Any = redis.hgetall(gateway_workers.GAUGES)
    alive = gateway_workers.read_totals(gauges, {}, clock.now().timestamp()).workers
    do = "Start python -m addon.supervisor; see logs/proxy.log."
    seen = f"{alive} in the last {gateway_workers.WORKER_TIMEOUT_SECONDS} s"
    return Finding("Workers of the gateway report", alive > 0, seen, do, Section.GATEWAY)
