"""The way to ask for a job: by its dotted path, after the commit that made it necessary."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Retry, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job

from jobs.renamed import CurrentJob
from models.config import settings as config

QUEUE = "zenzefi"
# What may run for hours has a queue and a worker of its own: payments are never settled after a backup.
SLOW_QUEUE = "zenzefi-slow"
TIMEOUT_SECONDS, SLOW_TIMEOUT_SECONDS = 120, 5 * 3600
KEEP_RESULT_SECONDS = 600
KEEP_FAILURE_SECONDS = 7 * 24 * 3600
# At once and again: what still fails then is found by the sweeps of the schedule.
RETRY = Retry(max=3)


class QueueDown(Exception):
    """Redis did not take the job. What it was for is in the database, and a sweep will find it."""


@cache
def queue(name: str = QUEUE) -> Queue:
    """Return this process's way to a queue."""
    connection = Redis.from_url(config.load_settings().redis.url, socket_connect_timeout=2, socket_timeout=5)
    return Queue(name, connection=connection, default_timeout=TIMEOUT_SECONDS)


def enqueue(name: str, *args: str) -> None:
    """Ask for the job `name`, a dotted path such as `jobs.payments.settle`. Raises QueueDown.

    Somebody waits for it, so it goes before what the schedule has put into the queue, which nobody does.
    """
    kept = {"result_ttl": KEEP_RESULT_SECONDS, "failure_ttl": KEEP_FAILURE_SECONDS}
    try:
        queue().enqueue(name, args=args, retry=RETRY, at_front=True, **kept)
    except RedisError as error:
        raise QueueDown(str(error)) from error


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed as often as it may: what it was, when it gave up, and the last line of why."""

    id: str
    queue: str
    name: str
    args: tuple[Any, ...]
    ended_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What waits in each queue, how many jobs failed for good, which workers live, and whether the scheduler does."""

    waiting: dict[str, int]
    failed: int
    workers: list[tuple[str, str]]
    scheduler_lives: bool


# What the scheduler leaves each time that it looks for due jobs, and for how long; rq-scheduler's own lock is free
# between two looks, and so says nothing.
SCHEDULER_KEY, SCHEDULER_SECONDS = "zenzefi:scheduler", 15


def scheduler_lives(connection: Redis) -> bool:
    """Say whether somebody puts due jobs into the queues. Raises RedisError."""
    return bool(connection.exists(SCHEDULER_KEY))


def queue_status(connection: Redis) -> QueueStatus:
    """Return how the queues stand. Raises QueueDown."""
    try:
        lanes = _queues(connection)
        return QueueStatus(
            waiting={lane.name: lane.count for lane in lanes},
            failed=sum(lane.failed_job_registry.count for lane in lanes),
            workers=[(worker.name, str(worker.get_state())) for worker in Worker.all(connection)],
            scheduler_lives=scheduler_lives(connection),
        )
    except RedisError as error:
        raise QueueDown(str(error)) from error


def failed_jobs(connection: Redis, limit: int = 50) -> list[FailedJob]:
    """Return jobs that failed for good, the last ones first. Raises QueueDown."""
    found: list[FailedJob] = []
    try:
        for lane in _queues(connection):
            ids = lane.failed_job_registry.get_job_ids(0, limit - 1, desc=True)
            found += [_failed(lane.name, job) for job in CurrentJob.fetch_many(ids, connection) if job is not None]
    except RedisError as error:
        raise QueueDown(str(error)) from error
    return sorted(found, key=lambda job: job.ended_at or datetime.min.replace(tzinfo=UTC), reverse=True)[:limit]


def retry(connection: Redis, job_id: str) -> str | None:
    """Put a failed job back into its queue and return its name; None when it is gone. Raises QueueDown."""
    return _on_failed(connection, job_id, lambda lane, job: lane.failed_job_registry.requeue(job))


def remove(connection: Redis, job_id: str) -> str | None:
    """Forget a failed job and return its name; None when it is gone. Raises QueueDown."""
    return _on_failed(connection, job_id, lambda lane, job: lane.failed_job_registry.remove(job, delete_job=True))


def _on_failed(connection: Redis, job_id: str, act: Callable[[Queue, Job], object]) -> str | None:
    try:
        job = CurrentJob.fetch(job_id, connection)
        for lane in _queues(connection):
            if job_id in lane.failed_job_registry:
                act(lane, job)
                return str(job.func_name)
    except (NoSuchJobError, ValueError):
        # The second is RQ's word for what cannot be an id.
        return None
    except RedisError as error:
        raise QueueDown(str(error)) from error
    return None


def _queues(connection: Redis) -> list[Queue]:
    return [Queue(name, connection=connection, job_class=CurrentJob) for name in (QUEUE, SLOW_QUEUE)]


def _failed(name: str, job: Job) -> FailedJob:
    result = job.latest_result()
    lines = (result.exc_string or "").strip().splitlines() if result else []
    ended = job.ended_at and job.ended_at.replace(tzinfo=job.ended_at.tzinfo or UTC)
    return FailedJob(job.id, name, job.func_name or "", tuple(job.args), ended, lines[-1][:300] if lines else "")
