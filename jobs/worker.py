"""The worker process (`python -m jobs.worker`): forks and supervises a worker for each queue.

1. All code of the jobs is loaded once, before the fork, so that the workers share its memory.
2. A worker process that ends is started again; the jobs of one that died are failed or retried at once.
3. A worker process whose job exceeds its time limit without reacting to it is killed.
4. With `--with-scheduler`, this process also is the scheduler.
"""

import argparse
import gc
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from jobs import (
    audit,
    backups,
    cleanup,
    due_work,
    email_links,
    health,
    mail,
    payments,
    queues,
    rq_workers,
    token_time,
    webhooks,
)
from jobs.scheduler import ScheduleRunner, use_utc
from models.config import settings as config
from models.services.payments import providers

# Imported before the fork.
PRELOADED = (due_work, email_links, audit, backups, token_time, health, mail, payments, cleanup, webhooks)

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
# How often a running job's deadline is checked.
WATCH_SECONDS = 5.0
MIN_RESTART_SECONDS, MAX_RESTART_SECONDS = 0.5, 30.0
HEALTHY_SECONDS = 60.0  # a worker that ran this long is restarted without back-off


class WorkerProcess:
    """The worker of one queue, in a forked process that is started again when it ends."""

    def __init__(self, queue: str, work: Callable[[str, str, Any], None], connection: Redis) -> None:
        self._queue, self._work, self._connection = queue, work, connection
        self._deadline = rq_workers.new_deadline()
        self._process: BaseProcess | None = None
        self._name = ""
        self._started_at = self._due_at = 0.0
        self._backoff = MIN_RESTART_SECONDS

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def watch(self) -> float:
        """Start the process when it is due, and kill it when its job hangs; return the seconds until the next look."""
        now = time.monotonic()
        if self._process is not None and not self._process.is_alive():
            self._ended(self._process, now)
        if self._process is None:
            if now < self._due_at:
                return self._due_at - now
            self._start(now)
        elif 0.0 < self._deadline.value < now:
            logger.error("a job of %s hangs; its process %s is killed", self._queue, self._process.pid)
            self._process.kill()
        return WATCH_SECONDS

    def stop(self) -> None:
        """Ask the process to stop; a running job is finished first."""
        if self._process is not None and self._process.is_alive():
            self._process.terminate()

    def _start(self, now: float) -> None:
        # A restarted container has the host name and process id of the killed one, whose name is still registered.
        self._name = f"zenzefi-{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self._deadline.value = 0.0
        self._started_at = now
        self._process = get_context("fork").Process(target=self._run)
        self._process.start()

    def _run(self) -> None:
        rq_workers.die_with_parent()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            self._work(self._queue, self._name, self._deadline)
        except RedisError as error:
            logger.error("the worker of %s ends: Redis does not answer: %s", self._queue, error)
            raise SystemExit(1) from None

    def _ended(self, process: BaseProcess, now: float) -> None:
        """Note that the process has ended, and plan its restart: at once, or with back-off after an error."""
        process.join()
        self._process = None
        if process.exitcode == 0:
            self._due_at = now
            return
        if now - self._started_at > HEALTHY_SECONDS:
            self._backoff = MIN_RESTART_SECONDS
        self._due_at, wait = now + self._backoff, self._backoff
        self._backoff = min(self._backoff * 2, MAX_RESTART_SECONDS)
        code = process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        logger.error("worker process %s of %s %s; another one starts in %g s", process.pid, self._queue, how, wait)
        rq_workers.fail_jobs_of(self._name, self._connection, f"The worker process {how}.")


def main(arguments: Sequence[str] = ()) -> int:
    """Run jobs until stopped; running jobs are finished first. Exits when Redis is down at the start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rq").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m jobs.worker")
    parser.add_argument("--with-scheduler", action="store_true", help="also enqueue scheduled jobs")
    with_scheduler = parser.parse_args(arguments).with_scheduler
    use_utc()
    settings = config.load_settings()
    providers.preload(settings)
    connection = Redis.from_url(settings.redis.url, socket_connect_timeout=2, socket_timeout=5)
    try:
        connection.ping()
    except RedisError as error:
        logger.error("the worker ends: Redis does not answer: %s", error)
        return 1
    # What is loaded stays: collecting it in a child would copy its memory.
    gc.collect()
    gc.freeze()
    # Signals wait until the loop below takes them.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    processes = [
        WorkerProcess(queues.QUEUE, work_on_short_jobs, connection),
        WorkerProcess(queues.SLOW_QUEUE, work_on_slow_jobs, connection),
    ]
    _supervise(processes, ScheduleRunner(connection) if with_scheduler else None)
    return 0


def _supervise(processes: Sequence[WorkerProcess], scheduler: ScheduleRunner | None) -> None:
    """Watch the processes, and run the scheduler, until a signal to stop; then stop them."""
    is_stopping = False
    while not is_stopping or any(process.is_alive for process in processes):
        waits = [WATCH_SECONDS]
        if not is_stopping:
            waits += [process.watch() for process in processes]
            if scheduler is not None:
                waits.append(scheduler.run_pending())
        received = signal.sigtimedwait(SIGNALS, min(waits))
        if received is not None and received.si_signo != signal.SIGCHLD:
            # RQ ends a job at a second signal.
            is_stopping = True
            for process in processes:
                process.stop()
    if scheduler is not None:
        scheduler.stop()


def work_on_short_jobs(queue: str, name: str, deadline: Any) -> None:
    """Run the jobs of a queue in this process until stopped."""
    own = queues.queue(queue)
    rq_workers.ShortWorker([own], connection=own.connection, name=name, deadline=deadline).work()


def work_on_slow_jobs(queue: str, name: str, _deadline: Any) -> None:
    """Run the jobs of a queue, each in a forked process, until stopped."""
    own = queues.queue(queue)
    rq_workers.SlowWorker([own], connection=own.connection, name=name).work()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
