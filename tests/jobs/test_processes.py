"""Worker and scheduler as real processes: jobs that hang, crash and fail, and the end by SIGTERM."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Worker
from rq.job import Job, JobStatus
from rq_scheduler import Scheduler

from jobs import queues, schedule
from models.config.settings import Settings
from models.database import Sessions
from models.metrics import audit_counters
from models.payments import PaymentEvent
from models.services.monitoring import last_success
from models.services.payments import callbacks
from models.users import User
from tests.factories import balance, decided, top_up

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[..., Any]], Any]
ROOT = Path(__file__).resolve().parent.parent.parent


def until(condition: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it took too long")


@contextmanager
def process(*arguments: str, environment: dict[str, str], **pipes: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python; it must not outlive the test."""
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=ROOT, env={**inherited, **environment}, **pipes) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


def stop(running: subprocess.Popen[bytes]) -> int:
    """Stop the process and return its exit code."""
    running.send_signal(signal.SIGTERM)
    return running.wait(timeout=15)


def test_the_worker_settles_an_event_enqueued_twice_once_and_stops_cleanly(
    shop: Committed, process_environment: dict[str, str], redis: Redis, buyer: User, run: Run
) -> None:
    settings = shop[0]
    event_id = run(lambda s: callbacks.store_event(s, "mock", decided(s, top_up(s, buyer, settings), settings)))
    with process("-m", "jobs.worker", environment=process_environment) as worker:
        until(lambda: Worker.all(connection=redis))
        for _ in range(2):
            queues.enqueue("jobs.payments.settle", str(event_id))
        until(lambda: run(lambda s: s.get_one(PaymentEvent, uuid.UUID(str(event_id))).processed_at))
        until(lambda: redis.hget(audit_counters.TOTALS_KEY, "job_runs|jobs.payments.settle|succeeded") == b"2")
        assert run(lambda s: balance(s, buyer)) == 150
        until(lambda: redis.hexists(last_success.JOBS_KEY, "jobs.payments.settle"))
        queues.enqueue("jobs.payments.settle", "no id at all")
        # Tried at once and three times again.
        until(lambda: redis.hget(audit_counters.TOTALS_KEY, "job_runs|jobs.payments.settle|failed") == b"4")
        assert stop(worker) == 0
    assert Worker.all(connection=redis) == []


def test_a_slow_job_does_not_block_others_and_its_dead_worker_is_replaced(
    shop: Committed, process_environment: dict[str, str], redis: Redis
) -> None:
    with process("-m", "jobs.worker", environment=process_environment) as worker:
        slow = until(lambda: Worker.all(queue=queues.queue(queues.SLOW_QUEUE)))[0]
        queues.queue(queues.SLOW_QUEUE).enqueue("time.sleep", 30)
        until(lambda: queues.queue(queues.SLOW_QUEUE).started_job_registry.count)
        queues.enqueue("jobs.cleanup.delete_browser_access")
        # Counted right after the job has ended.
        until(lambda: redis.hexists(audit_counters.TOTALS_KEY, "job_duration_sum|jobs.cleanup.delete_browser_access"))
        os.kill(slow.pid, signal.SIGKILL)
        until(lambda: queues.queue(queues.SLOW_QUEUE).failed_job_registry.count)
        [another] = until(lambda: Worker.all(queue=queues.queue(queues.SLOW_QUEUE)))
        assert another.pid != slow.pid
        assert stop(worker) == 0


@pytest.fixture
def worker(shop: Committed, process_environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that kills a hanging job soon after its time limit."""
    code = "from jobs import rq_workers, worker; rq_workers.HANG_SECONDS = 0.5; worker.WATCH_SECONDS = 0.2;"
    with process("-c", f"{code} worker.main()", environment=process_environment) as running:
        yield running
        assert stop(running) == 0


def enqueued(name: str, *args: str, **options: Any) -> Job:
    """Enqueue a job of tests.jobs.sample_jobs."""
    return queues.queue().enqueue(f"tests.jobs.sample_jobs.{name}", args=args, **options)


def ended(job: Job) -> Job:
    """Wait until a job has ended, and return it."""
    until(lambda: job.get_status() in {JobStatus.FINISHED, JobStatus.FAILED})
    return job


def result_of(job: Job) -> Any:
    """Return what a job returned, once it has."""
    assert ended(job).get_status() is JobStatus.FINISHED
    return job.return_value()


def error_of(job: Job) -> str:
    """Return the error of a job, once it has failed."""
    assert ended(job).get_status() is JobStatus.FAILED
    found = job.latest_result()
    assert found is not None
    return str(found.exc_string)


@pytest.mark.usefixtures("worker")
def test_short_jobs_run_in_one_process_and_their_results_are_kept() -> None:
    first, second = enqueued("process_id"), enqueued("process_id")
    assert result_of(first) == result_of(second)
    assert result_of(first) in {found.pid for found in Worker.all(queue=queues.queue())}


@pytest.mark.usefixtures("worker")
def test_a_job_that_exceeds_its_time_limit_fails_and_the_next_one_gets_a_fresh_process() -> None:
    first, hanging, after = enqueued("process_id"), enqueued("wait", job_timeout=1), enqueued("process_id")
    assert "JobTimeoutException" in error_of(hanging)
    assert result_of(after) != result_of(first)


@pytest.mark.usefixtures("worker")
def test_a_job_that_cannot_be_interrupted_is_killed_with_its_process_and_others_go_on() -> None:
    hanging, after = enqueued("wait_uninterruptibly", job_timeout=1), enqueued("process_id")
    assert "The worker process was killed by SIGKILL." in error_of(hanging)
    assert result_of(after)


@pytest.mark.usefixtures("worker")
def test_a_job_whose_process_is_killed_is_retried_and_its_result_is_kept(tmp_path: Path) -> None:
    crashing, after = enqueued("die_once", str(tmp_path / "died"), retry=queues.RETRY), enqueued("process_id")
    assert result_of(crashing) == "survived"
    assert result_of(after)


@pytest.mark.usefixtures("worker")
def test_a_job_that_raises_fails_and_leaves_nothing_to_the_next_one() -> None:
    first, failing, after = enqueued("process_id"), enqueued("fail"), enqueued("process_id")
    assert "ZeroDivisionError" in error_of(failing)
    assert result_of(after) != result_of(first)


@pytest.mark.usefixtures("worker")
def test_a_job_that_keeps_its_database_connection_ends_its_process() -> None:
    keeping, after = enqueued("keep_a_transaction_open"), enqueued("process_id")
    assert result_of(keeping) != result_of(after)


def test_a_running_job_is_finished_before_the_worker_stops(
    shop: Committed, process_environment: dict[str, str]
) -> None:
    with process("-m", "jobs.worker", environment=process_environment) as worker:
        until(lambda: Worker.all(queue=queues.queue()))
        job = enqueued("wait_a_second")
        until(lambda: job.get_status() is JobStatus.STARTED)
        assert stop(worker) == 0
    assert result_of(job) == "done"


def test_a_worker_with_scheduler_schedules_and_runs_due_jobs(
    shop: Committed, process_environment: dict[str, str], redis: Redis
) -> None:
    with process("-m", "jobs.worker", "--with-scheduler", environment=process_environment) as worker:
        until(lambda: queues.queue_status(redis).is_scheduler_alive)
        until(lambda: redis.hexists(last_success.JOBS_KEY, "jobs.health.check"))
        assert redis.zcard(Scheduler.scheduled_jobs_key) == len(schedule.SCHEDULE)
        assert stop(worker) == 0
    assert not queues.queue_status(redis).is_scheduler_alive


def test_the_scheduler_enqueues_due_jobs_and_keeps_the_schedule(
    shop: Committed, process_environment: dict[str, str], redis: Redis
) -> None:
    due = {task.id for task in schedule.SCHEDULE if task.every is not None}
    timetable: Scheduler = schedule.scheduler(redis)
    for _ in range(2):
        with process("-m", "jobs.scheduler", environment=process_environment) as scheduler:
            until(lambda: set(queues.queue().job_ids) == due)
            until(lambda: queues.queue_status(redis).is_scheduler_alive)
            until(lambda: redis.zcount(Scheduler.scheduled_jobs_key, time.time(), "+inf") == len(schedule.SCHEDULE))
            assert stop(scheduler) == 0
        # Every job is due again, and the queue is empty.
        redis.delete(queues.queue().key)
        redis.zadd(Scheduler.scheduled_jobs_key, dict.fromkeys(due, 0), xx=True)
    assert {job.id for job in timetable.get_jobs()} == {task.id for task in schedule.SCHEDULE}
    assert not redis.exists(Scheduler.scheduler_lock_key)
    assert not queues.queue_status(redis).is_scheduler_alive


@pytest.mark.parametrize("module", ["jobs.scheduler", "jobs.worker"])
def test_without_redis_a_process_logs_one_line_and_exits(module: str, process_environment: dict[str, str]) -> None:
    nowhere = {**process_environment, "REDIS_URL": "redis://127.0.0.1:1/0"}
    with process("-m", module, environment=nowhere, stderr=subprocess.PIPE) as running:
        said = running.communicate(timeout=20)[1].decode()
    assert running.returncode != 0
    assert "ends: Redis does not answer" in said
    assert "Traceback" not in said
