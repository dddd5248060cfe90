"""Jobs that an older release left in Redis run under their present names, and their metrics go on."""

import importlib
from typing import Any

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq_scheduler import Scheduler

from jobs import metrics, queues, renamed, schedule
from jobs.renamed import CURRENT_NAMES, CurrentJob
from models.config.settings import Settings
from models.database import Sessions
from models.metrics.audit_counters import TOTALS_KEY
from models.services.monitoring.last_success import JOBS_KEY

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rq_scheduler"),
    pytest.mark.filterwarnings("ignore::FutureWarning:rq_scheduler"),
]


def function_of(path: str) -> tuple[Any, str]:
    """Return the module and the name of a dotted path."""
    module, _, name = path.rpartition(".")
    return importlib.import_module(module), name


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace every renamed job by one that records its present name."""
    names: list[str] = []
    for current in set(CURRENT_NAMES.values()):
        module, name = function_of(current)
        monkeypatch.setattr(module, name, lambda current=current: names.append(current))
    return names


def work(redis: Redis) -> None:
    """Run what is queued, in this process."""
    lanes = [Queue(name, connection=redis) for name in (queues.QUEUE, queues.SLOW_QUEUE)]
    SimpleWorker(lanes, connection=redis, job_class=CurrentJob).work(burst=True)


@pytest.mark.parametrize("current", sorted(set(CURRENT_NAMES.values())))
def test_every_present_name_is_a_job(current: str) -> None:
    assert callable(getattr(*function_of(current)))


@pytest.mark.parametrize("former", CURRENT_NAMES)
def test_no_former_name_is_a_job_any_more(former: str) -> None:
    with pytest.raises((ImportError, AttributeError)):
        getattr(*function_of(former))


@pytest.mark.parametrize("former", CURRENT_NAMES)
def test_a_queued_job_with_a_former_name_runs(former: str, redis: Redis, ran: list[str]) -> None:
    job = Queue(queues.QUEUE, connection=redis).enqueue(former)
    work(redis)
    assert ran == [CURRENT_NAMES[former]]
    assert Job.fetch(job.id, connection=redis).is_finished


def test_a_job_scheduled_once_under_a_former_name_runs(redis: Redis, ran: list[str]) -> None:
    timetable = schedule.scheduler(redis)
    timetable.schedule(schedule.clock.now().replace(tzinfo=None), "jobs.upkeep.verify_ledger", id="once")
    timetable.enqueue_jobs()
    work(redis)
    assert ran == ["jobs.cleanup.verify_ledger"]


def test_a_failed_job_is_listed_and_retried_under_its_present_name(
    shop: tuple[Settings, Sessions], redis: Redis, ran: list[str]
) -> None:
    job = queues.queue().enqueue("jobs.clocks.renew")
    queues.queue().failed_job_registry.add(job, ttl=60)
    queues.queue().remove(job)
    assert [failed.name for failed in queues.failed_jobs(redis)] == ["jobs.token_time.renew"]
    assert queues.retry(redis, job.id) == "jobs.token_time.renew"
    work(redis)
    assert ran == ["jobs.token_time.renew"]


def test_the_former_schedule_is_replaced_and_what_was_due_still_runs(redis: Redis, ran: list[str]) -> None:
    timetable = schedule.scheduler(redis)
    former = tuple(schedule.ScheduledJob(name, every=600) for name in CURRENT_NAMES)
    schedule.reconcile(timetable, former)
    due = next(job for job in timetable.get_jobs() if job.id == former[0].id)
    timetable.enqueue_job(due)
    schedule.reconcile(timetable, ())
    assert redis.zcard(Scheduler.scheduled_jobs_key) == 0
    work(redis)
    assert ran == [CURRENT_NAMES[former[0].job]]
    assert {redis.exists(f"rq:job:{task.id}") for task in former[1:]} == {0}
    assert 0 < redis.ttl(f"rq:job:{due.id}") <= queues.KEEP_RESULT_SECONDS


def test_runs_are_counted_under_the_present_name(redis: Redis) -> None:
    job = CurrentJob.create("jobs.audit.seal", connection=redis)
    job.save()
    metrics.record_run(redis, CurrentJob.fetch(job.id, connection=redis), succeeded=True)
    assert redis.hkeys(JOBS_KEY) == [b"jobs.audit.chain_new_rows"]


def test_counts_of_former_names_move_to_the_present_ones(redis: Redis) -> None:
    """Without it the former name's last success would age for ever, and its alert would never end."""
    redis.hset(
        TOTALS_KEY,
        mapping={
            "job_runs|jobs.mail.send_waiting|succeeded": 5,
            "job_runs|jobs.mail.send_pending|succeeded": 2,
            "job_duration|jobs.mail.send_waiting|3": 4,
            "job_duration_sum|jobs.mail.send_waiting": 700,
            "job_runs|jobs.payments.settle|failed": 1,
            "token_purchases|24": 9,
        },
    )
    redis.hset(JOBS_KEY, mapping={"jobs.mail.send_waiting": "10.5", "jobs.mail.send_pending": "9.5"})
    for _ in range(2):
        renamed.rename_metrics(redis)
    assert redis.hgetall(TOTALS_KEY) == {
        b"job_runs|jobs.mail.send_pending|succeeded": b"7",
        b"job_duration|jobs.mail.send_pending|3": b"4",
        b"job_duration_sum|jobs.mail.send_pending": b"700",
        b"job_runs|jobs.payments.settle|failed": b"1",
        b"token_purchases|24": b"9",
    }
    assert redis.hgetall(JOBS_KEY) == {b"jobs.mail.send_pending": b"10.5"}
