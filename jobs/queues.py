"""The way to ask for a job: by its dotted path, after the commit that made it necessary."""

from functools import cache

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Retry

from models import config

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
    connection = Redis.from_url(config.load().redis.url, socket_connect_timeout=2, socket_timeout=5)
    return Queue(name, connection=connection, default_timeout=TIMEOUT_SECONDS)


def enqueue(name: str, *args: str) -> None:
    """Ask for the job `name`, a dotted path such as `jobs.payments.settle`. Raises QueueDown."""
    try:
        queue().enqueue(name, args=args, retry=RETRY, result_ttl=KEEP_RESULT_SECONDS, failure_ttl=KEEP_FAILURE_SECONDS)
    except RedisError as error:
        raise QueueDown(str(error)) from error
