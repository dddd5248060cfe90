"""Enqueued jobs run in a real worker, are retried, and failures are reported."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.job import Job

from jobs import queues
from models.config.settings import Settings
from models.database import Sessions
from models.services.payments import callbacks
from models.users import User
from tests.factories import balance, decided, top_up

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[..., Any]], Any]
ROOT = Path(__file__).resolve().parent.parent.parent


def paid(run: Run, settings: Settings, buyer: User) -> str:
    """Store a callback whose job has not run yet; return its id."""
    stored = run(lambda s: callbacks.store_event(s, "mock", decided(s, top_up(s, buyer, settings), settings)))
    return str(stored)


def test_a_job_is_enqueued_with_its_arguments_and_retries(shop: Committed, redis: Redis) -> None:
    event_id = str(uuid.uuid4())
    queues.enqueue("jobs.payments.settle", event_id)
    (job,) = queues.queue().jobs
    assert (job.func_name, job.args, job.retries_left) == ("jobs.payments.settle", (event_id,), 3)
    assert job.timeout == queues.TIMEOUT_SECONDS


def test_a_queue_without_redis_raises_queue_down(
    shop: Committed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REDIS_URL", f"unix://{tmp_path}/nobody.sock")
    queues.queue.cache_clear()
    started = time.monotonic()
    with pytest.raises(queues.QueueDown):
        queues.enqueue("jobs.payments.settle", "x")
    assert time.monotonic() - started < 8


def test_a_worker_runs_an_enqueued_settlement(shop: Committed, redis: Redis, buyer: User, run: Run) -> None:
    queues.enqueue("jobs.payments.settle", paid(run, shop[0], buyer))
    SimpleWorker([queues.queue()], connection=redis).work(burst=True)
    assert run(lambda s: balance(s, buyer)) == 150


def test_a_failed_job_is_retried_and_then_kept(shop: Committed, redis: Redis) -> None:
    queues.enqueue("jobs.payments.settle", str(uuid.uuid4()))
    (job_id,) = queues.queue().job_ids
    SimpleWorker([queues.queue()], connection=redis).work(burst=True)
    job = Job.fetch(job_id, connection=redis)
    assert job.is_failed
    assert job.retries_left == 0
    assert job.id in queues.queue().failed_job_registry
