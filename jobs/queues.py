"""Job queues: enqueue a job by its dotted path after the commit, list failed jobs, report queue status."""

import logging
from collections.abc import Callable, Iterable
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
# Jobs that may run for hours have their own queue and worker: settlements never wait for a backup.
SLOW_QUEUE = "zenzefi-slow"
TIMEOUT_SECONDS, SLOW_TIMEOUT_SECONDS = 120, 5 * 3600
KEEP_RESULT_SECONDS = 600
KEEP_FAILURE_SECONDS = 7 * 24 * 3600
KEPT = {"result_ttl": KEEP_RESULT_SECONDS, "failure_ttl": KEEP_FAILURE_SECONDS}
# A lost wake-up delays the next one by no more than this.
WOKEN_SECONDS = 10
# Retried at once; what still fails then is found by the scheduled sweeps.
RETRY = Retry(max=3)

logger = logging.getLogger(__name__)


class QueueDown(Exception):
    """Redis did not accept the job. Its work is in the database, and a sweep will find it."""


@cache
def queue(name: str = QUEUE) -> Queue:
    """Return a queue, connected once per process."""
    connection = Redis.from_url(config.load_settings().redis.url, socket_connect_timeout=2, socket_timeout=5)
    return Queue(name, connection=connection, default_timeout=TIMEOUT_SECONDS)


def enqueue(name: str, *args: str) -> None:
    """Enqueue the job `name`, a dotted path such as `jobs.payments.settle`. Raises QueueDown.

    A user waits for it, so it is put before the scheduled jobs.
    """
    try:
        queue().enqueue(name, args=args, retry=RETRY, at_front=True, **KEPT)
    except RedisError as error:
        raise QueueDown(str(error)) from error


def wake(connection: Redis, names: Iterable[str]) -> None:
    """Enqueue jobs after a commit, unless they are queued already: they find all that was committed before they start.

    While Redis is down nothing is lost: jobs.due_work finds what is due.
    """
    try:
        for name in names:
            if connection.set(woken_key(name), "1", nx=True, ex=WOKEN_SECONDS):
                woken = Queue(QUEUE, connection=connection, default_timeout=TIMEOUT_SECONDS)
                woken.enqueue(name, retry=RETRY, at_front=True, **KEPT)
    except RedisError as error:
        logger.warning("%s not woken: %s", ", ".join(names), type(error).__name__)


def woken_key(name: str) -> str:
    """Return the Redis key that exists while a woken job is queued; the worker removes it before it runs the job."""
    return f"zenzefi:woken:{name}"


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed permanently: its name and arguments, the time, and the last line of the error."""

    id: str
    queue: str
    name: str
    args: tuple[Any, ...]
    ended_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """Backlog of each queue, number of failed jobs, live workers, and whether the scheduler is alive."""

    waiting: dict[str, int]
    failed: int
    workers: list[tuple[str, str]]
    is_scheduler_alive: bool


# The scheduler's heartbeat and its lifetime; rq-scheduler's own lock is free between two polls, so it says nothing.
SCHEDULER_KEY, SCHEDULER_SECONDS = "zenzefi:scheduler", 15


def is_scheduler_alive(connection: Redis) -> bool:
    """Return whether a scheduler is alive. Raises RedisError."""
    return bool(connection.exists(SCHEDULER_KEY))


def queue_status(connection: Redis) -> QueueStatus:
    """Return the status of the queues. Raises QueueDown."""
    try:
        rq_queues = _queues(connection)
        return QueueStatus(
            waiting={rq_queue.name: rq_queue.count for rq_queue in rq_queues},
            failed=sum(rq_queue.failed_job_registry.count for rq_queue in rq_queues),
            workers=[(worker.name, str(worker.get_state())) for worker in Worker.all(connection)],
            is_scheduler_alive=is_scheduler_alive(connection),
        )
    except RedisError as error:
        raise QueueDown(str(error)) from error


def failed_jobs(connection: Redis, limit: int = 50) -> list[FailedJob]:
    """Return permanently failed jobs, newest first. Raises QueueDown."""
    found: list[FailedJob] = []
    try:
        for rq_queue in _queues(connection):
            ids = rq_queue.failed_job_registry.get_job_ids(0, limit - 1, desc=True)
            found += [_failed(rq_queue.name, job) for job in CurrentJob.fetch_many(ids, connection) if job is not None]
    except RedisError as error:
        raise QueueDown(str(error)) from error
    return sorted(found, key=lambda job: job.ended_at or datetime.min.replace(tzinfo=UTC), reverse=True)[:limit]


def retry(connection: Redis, job_id: str) -> str | None:
    """Requeue a failed job and return its name; None when it no longer exists. Raises QueueDown."""
    return _on_failed(connection, job_id, lambda q, job: q.failed_job_registry.requeue(job))


def remove(connection: Redis, job_id: str) -> str | None:
    """Delete a failed job and return its name; None when it no longer exists. Raises QueueDown."""
    return _on_failed(
        connection, job_id, lambda rq_queue, job: rq_queue.failed_job_registry.remove(job, delete_job=True)
    )


def _on_failed(connection: Redis, job_id: str, act: Callable[[Queue, Job], object]) -> str | None:
    try:
        job = CurrentJob.fetch(job_id, connection)
        for rq_queue in _queues(connection):
            if job_id in rq_queue.failed_job_registry:
                act(rq_queue, job)
                return str(job.func_name)
    except (NoSuchJobError, ValueError):
        # RQ raises ValueError for a malformed id.
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
