"""RQ workers: short jobs run in the worker's own process, slow jobs each in a forked one."""

import ctypes
import logging
import os
import signal
import time
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker, Worker
from rq.exceptions import NoSuchJobError, StopRequested
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException
from rq.utils import now
from rq.worker import BaseWorker, WorkerStatus

from jobs import context, metrics, queues
from jobs.renamed import CurrentJob

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
# How long a job may exceed its time limit before its process is killed: RQ ends it by a signal handler, which Python
# runs only between two of its instructions, so not while C code hangs.
HANG_SECONDS = 30.0
# A worker process is replaced after so many jobs, and when its memory has grown so far.
MAX_JOBS = 1000
MAX_RESIDENT_BYTES = 256 * 1024 * 1024


class CountingWorker(BaseWorker):
    """A worker that runs jobs under their present names and counts the runs in the metrics."""

    job_class = CurrentJob

    def handle_job_success(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """Store a job's result and count the run."""
        super().handle_job_success(job, *args, **kwargs)
        metrics.record_run(self.connection, job, succeeded=True)

    def handle_job_failure(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """Count a run that raised or whose process was killed; it may be retried."""
        super().handle_job_failure(job, *args, **kwargs)
        metrics.record_run(self.connection, job, succeeded=False)


class SlowWorker(CountingWorker, Worker):
    """A worker whose forked job is killed with it: an orphaned job would keep its locks."""

    def main_work_horse(self, *args: Any, **kwargs: Any) -> None:
        """Run one job in the forked process."""
        die_with_parent()
        super().main_work_horse(*args, **kwargs)


class ShortWorker(CountingWorker, SimpleWorker):
    """A worker that runs each job in its own process, which costs no fork and keeps the database connection.

    The process ends after a job that failed, since an exception may leave a transaction, lock or thread behind; its
    parent starts another one (jobs/worker.py). `deadline` is shared with the parent: the moment, by the monotonic
    clock, at which the parent kills this process; 0 while no job runs.
    """

    def __init__(self, *args: Any, deadline: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline = deadline
        self._runs = 0
        self._failure: type[BaseException] | None = None

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job, and end this worker when its process should not run another one."""
        self._failure = None
        # First, so that what is committed from now on wakes the job again.
        self.connection.delete(queues.woken_key(str(job.func_name)))
        self._deadline.value = time.monotonic() + (job.timeout or queue.DEFAULT_TIMEOUT) + HANG_SECONDS
        try:
            super().execute_job(job, queue)
        finally:
            self._deadline.value = 0.0
        self._runs += 1
        if reason := self._reason_to_end():
            logger.info("worker process %s ends after %s jobs: %s", os.getpid(), self._runs, reason)
            self._stop_requested = True

    def handle_exception(self, job: Job, *exc_info: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Log the exception of a job, and remember its class."""
        if isinstance(exc_info[0], type):
            self._failure = exc_info[0]
        super().handle_exception(job, *exc_info)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - RQ's interface
        """Stop after the running job. RQ's own handler asks Redis, and might interrupt a job that holds that lock."""
        self._shutdown_requested_date = now()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.request_force_stop)
        if self.get_state() != WorkerStatus.BUSY:
            raise StopRequested
        self._stop_requested = True

    def _reason_to_end(self) -> str:
        """Return why this process should not run another job; "" when it can."""
        if self._failure is not None:
            return "the last one timed out" if issubclass(self._failure, JobTimeoutException) else "the last one failed"
        if context.connections_in_use():
            return "the last one did not return its database connection"
        if self._runs >= MAX_JOBS:
            return "a process runs no more"
        if resident_bytes() > MAX_RESIDENT_BYTES:
            return "its memory has grown"
        return ""


def new_deadline() -> Any:
    """Return the shared memory of a ShortWorker's deadline, for this process and those that it forks."""
    return RawValue(ctypes.c_double, 0.0)


def fail_jobs_of(name: str, connection: Redis, reason: str) -> None:
    """Fail or retry the jobs of a worker whose process has died, and remove its registration.

    RQ would notice an expired heartbeat only minutes later; it still does when Redis is down now.
    """
    try:
        worker = CountingWorker.find_by_key(f"{CountingWorker.redis_worker_namespace_prefix}{name}", connection)
        if worker is None:
            return
        for execution in worker.get_current_executions():
            _fail(worker, execution, reason)
        worker.register_death()  # type: ignore[no-untyped-call]  # RQ's own
    except RedisError as error:
        logger.warning("the jobs of the dead worker %s are left to RQ's clean-up: %s", name, error)


def _fail(worker: BaseWorker, execution: Execution, reason: str) -> None:
    try:
        job = CurrentJob.fetch(execution.job_id, worker.connection)
    except NoSuchJobError:
        return
    if job.get_status() in {JobStatus.QUEUED, JobStatus.STARTED}:
        logger.error("job %s failed: %s", job.func_name, reason)
        job.ended_at = now()
        queue = Queue(job.origin, connection=worker.connection, job_class=CurrentJob)
        # A process that died between taking a job and starting it leaves it there.
        queue.intermediate_queue.remove(job.id)
        worker.handle_job_failure(job, queue=queue, exc_string=reason, execution=execution)


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def die_with_parent() -> None:
    """Make the kernel kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
