"""Job metrics, added up in Redis across processes. A failing Redis only logs a warning."""

import logging
from bisect import bisect_left
from collections import Counter

from redis import Redis
from redis.exceptions import RedisError
from rq.job import Job

from models import clock
from models.metrics import audit_counters
from models.metrics.catalogue import JOB
from models.services.monitoring import last_success

logger = logging.getLogger(__name__)


def add(redis: Redis, totals: audit_counters.Totals) -> None:
    """Add counts to the totals of all processes."""
    try:
        with redis.pipeline(transaction=False) as pipeline:
            for name, by in totals.items():
                pipeline.hincrby(audit_counters.TOTALS_KEY, name, by)
            pipeline.execute()
    except RedisError as error:
        logger.warning("metrics not counted: %s (%s)", ", ".join(totals), type(error).__name__)


def record_run(redis: Redis, job: Job, *, succeeded: bool) -> None:
    """Count a run of a job and store the time of its last success."""
    name = job.func_name or "unknown"
    # Both results are counted from the first run on: a series that first appears with a failure shows no increase.
    totals: audit_counters.Totals = Counter(
        {f"job_runs|{name}|succeeded": int(succeeded), f"job_runs|{name}|failed": int(not succeeded)}
    )
    if job.started_at and job.ended_at:
        seconds = (job.ended_at - job.started_at).total_seconds()
        totals[f"job_duration|{name}|{bisect_left(JOB, seconds)}"] = 1
        totals[f"job_duration_sum|{name}"] = int(seconds * 1_000_000)
    add(redis, totals)
    if succeeded:
        try:
            redis.hset(last_success.JOBS_KEY, name, str(clock.now().timestamp()))
        except RedisError as error:
            logger.warning("last success of %s not stored: %s", name, type(error).__name__)
