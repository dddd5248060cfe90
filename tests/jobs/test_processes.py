"""Worker and scheduler as real processes, ended by SIGTERM."""

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
def process(module: str, environment: dict[str, str], **pipes: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m module`; it must not outlive the test."""
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", module]
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
    with process("jobs.worker", process_environment) as worker:
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


def test_a_slow_job_does_not_block_others_and_its_worker_stops_the_main_one(
    shop: Committed, process_environment: dict[str, str], redis: Redis
) -> None:
    with process("jobs.worker", process_environment) as worker:
        slow = until(lambda: Worker.all(queue=queues.queue(queues.SLOW_QUEUE)))[0]
        queues.queue(queues.SLOW_QUEUE).enqueue("time.sleep", 30)
        until(lambda: queues.queue(queues.SLOW_QUEUE).started_job_registry.count)
        queues.enqueue("jobs.cleanup.delete_browser_access")
        # Counted right after the job has ended.
        until(lambda: redis.hexists(audit_counters.TOTALS_KEY, "job_duration_sum|jobs.cleanup.delete_browser_access"))
        os.kill(slow.pid, signal.SIGKILL)
        worker.wait(timeout=15)


def test_the_scheduler_enqueues_due_jobs_and_keeps_the_schedule(
    shop: Committed, process_environment: dict[str, str], redis: Redis
) -> None:
    due = {task.id for task in schedule.SCHEDULE if task.every is not None}
    timetable: Scheduler = schedule.scheduler(redis)
    for _ in range(2):
        with process("jobs.scheduler", process_environment) as scheduler:
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
    with process(module, nowhere, stderr=subprocess.PIPE) as running:
        said = running.communicate(timeout=20)[1].decode()
    assert running.returncode != 0
    assert "ends: Redis does not answer" in said
    assert "Traceback" not in said
