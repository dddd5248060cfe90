"""The worker process (`python -m jobs.worker`), with a child process for the slow queue."""

import ctypes
import logging
import multiprocessing
import os
import secrets
import signal
import threading
from multiprocessing.process import BaseProcess
from typing import Any

from redis.exceptions import RedisError
from rq import Worker
from rq.job import Job

from jobs import audit, backups, cleanup, email_links, health, mail, metrics, payments, queues, token_time, webhooks
from jobs.renamed import CurrentJob

# Imported before the first job: each job runs in a fork of this process with its code already loaded.
PRELOADED = (email_links, audit, backups, token_time, health, mail, payments, cleanup, webhooks)

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1


class DependentWorker(Worker):
    """A worker whose forked job is killed with it: an orphaned job would keep its locks."""

    job_class = CurrentJob

    def main_work_horse(self, *args: Any, **kwargs: Any) -> None:
        """Run one job in the forked process."""
        _die_with_parent()
        super().main_work_horse(*args, **kwargs)

    def handle_job_success(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """Store a job's result and count the run."""
        super().handle_job_success(job, *args, **kwargs)
        metrics.record_run(self.connection, job, succeeded=True)

    def handle_job_failure(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """Count a run that raised or whose process was killed; it may be retried."""
        super().handle_job_failure(job, *args, **kwargs)
        metrics.record_run(self.connection, job, succeeded=False)


def main() -> None:
    """Run jobs, each in its own process, until stopped; a running job is finished first."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rq").setLevel(logging.WARNING)
    slow = multiprocessing.get_context("fork").Process(target=_work_on_slow_queue)
    slow.start()
    threading.Thread(target=_stop_with, args=(slow,), daemon=True).start()
    try:
        work_on(queues.QUEUE)
    finally:
        slow.terminate()
        slow.join()


def work_on(name: str) -> None:
    """Run the jobs of one queue until SIGTERM. Exits when Redis is down at the start; later it waits for Redis."""
    queue = queues.queue(name)
    # A restarted container has the host name and process id of the killed worker, whose name is still registered.
    own = f"zenzefi-{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        DependentWorker([queue], connection=queue.connection, name=own).work()
    except RedisError as error:
        # Logged at once: the first of the two processes to exit stops the other.
        logger.error("the worker of %s ends: Redis does not answer: %s", name, error)
        raise SystemExit(1) from None


def _work_on_slow_queue() -> None:
    _die_with_parent()
    work_on(queues.SLOW_QUEUE)


def _stop_with(child: BaseProcess) -> None:
    """Stop this process when the child has exited, so that the supervisor restarts both."""
    child.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
