"""The schedule in Redis matches the list after reconciliation, from any earlier state."""

import importlib
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from croniter import croniter
from redis import Redis
from rq import Queue, SimpleWorker
from rq_scheduler import Scheduler

from jobs import schedule
from jobs.queues import QUEUE, SLOW_QUEUE
from jobs.schedule import SCHEDULE, ScheduledJob
from models.config.settings import Settings
from models.database import Sessions

# rq-scheduler reads the time in ways that newer versions of Python and crontab deprecate.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rq_scheduler"),
    pytest.mark.filterwarnings("ignore::FutureWarning:rq_scheduler"),
]
HOURLY = ScheduledJob("jobs.mail.send_pending", every=3600)
NIGHTLY = ScheduledJob("jobs.audit.archive", cron="0 4 * * *")


@pytest.fixture
def timetable(redis: Redis) -> Scheduler:
    """The scheduler with an empty Redis."""
    return schedule.scheduler(redis)


def ids(timetable: Scheduler) -> set[str]:
    """Return the ids of the scheduled jobs."""
    return {job.id for job in timetable.get_jobs()}


def test_an_empty_redis_gets_the_whole_schedule(timetable: Scheduler) -> None:
    schedule.reconcile(timetable)
    assert ids(timetable) == {task.id for task in SCHEDULE}


def test_a_second_run_changes_nothing_not_even_the_times(timetable: Scheduler) -> None:
    schedule.reconcile(timetable)
    before = [(job.id, moment) for job, moment in timetable.get_jobs(with_times=True)]
    schedule.reconcile(timetable)
    assert [(job.id, moment) for job, moment in timetable.get_jobs(with_times=True)] == before


def test_unlisted_jobs_are_removed(timetable: Scheduler, redis: Redis) -> None:
    schedule.reconcile(timetable, (HOURLY, NIGHTLY))
    schedule.reconcile(timetable, (NIGHTLY,))
    assert ids(timetable) == {NIGHTLY.id}
    assert not redis.exists(f"rq:job:{HOURLY.id}")


def test_a_changed_interval_replaces_the_old_one(timetable: Scheduler) -> None:
    schedule.reconcile(timetable, (HOURLY, NIGHTLY))
    changed = (ScheduledJob(HOURLY.job, every=60), ScheduledJob(NIGHTLY.job, cron="0 5 * * *"))
    schedule.reconcile(timetable, changed)
    assert ids(timetable) == {task.id for task in changed}
    assert not ids(timetable) & {HOURLY.id, NIGHTLY.id}


def test_other_scheduled_jobs_are_left_alone(timetable: Scheduler) -> None:
    timetable.schedule(datetime(2030, 1, 1), "jobs.mail.send_pending", id="somebodys-own")  # noqa: DTZ001
    schedule.reconcile(timetable, (HOURLY,))
    assert ids(timetable) == {HOURLY.id, "somebodys-own"}


def test_intervals_start_at_once_and_nightly_jobs_at_their_hour(timetable: Scheduler) -> None:
    schedule.reconcile(timetable, (HOURLY, NIGHTLY))
    times = {job.id: moment.replace(tzinfo=UTC) for job, moment in timetable.get_jobs(with_times=True)}
    now = datetime.now(UTC)
    assert abs(times[HOURLY.id] - now) < timedelta(seconds=10)
    assert times[NIGHTLY.id] > now
    assert (times[NIGHTLY.id].hour, times[NIGHTLY.id].minute) == (4, 0)


def test_due_jobs_are_enqueued_and_rescheduled(timetable: Scheduler, redis: Redis) -> None:
    schedule.reconcile(timetable, (HOURLY,))
    timetable.enqueue_jobs()
    assert [job.id for job in timetable.get_jobs_to_queue()] == []
    assert Queue(QUEUE, connection=redis).job_ids == [HOURLY.id]
    assert ids(timetable) == {HOURLY.id}


def test_a_job_stays_scheduled_while_it_is_enqueued(timetable: Scheduler, redis: Redis) -> None:
    """Killed in between, the scheduler would lose the job, and the doctor would see a gap."""
    schedule.reconcile(timetable, (HOURLY, NIGHTLY))
    redis.zadd(Scheduler.scheduled_jobs_key, {HOURLY.id: 0, NIGHTLY.id: 0})
    with redis.monitor() as watched:
        timetable.enqueue_jobs()
        redis.echo("the end")
        commands = list(
            takewhile(lambda line: "the end" not in line, (line_read["command"] for line_read in watched.listen()))
        )
    of_the_list = [line.split()[0] for line in commands if Scheduler.scheduled_jobs_key in line]
    assert of_the_list == ["ZRANGEBYSCORE", "ZADD", "ZADD"]
    times = {job.id: moment.replace(tzinfo=UTC) for job, moment in timetable.get_jobs(with_times=True)}
    assert abs(times[HOURLY.id] - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=10)
    assert (times[NIGHTLY.id].hour, times[NIGHTLY.id].minute) == (4, 0)


def test_a_job_scheduled_once_runs_once(timetable: Scheduler, redis: Redis) -> None:
    timetable.schedule(datetime(2020, 1, 1), "jobs.mail.send_pending", id="somebodys-own")  # noqa: DTZ001
    timetable.enqueue_jobs()
    assert Queue(QUEUE, connection=redis).job_ids == ["somebodys-own"]
    assert not ids(timetable)


def test_the_record_of_a_job_does_not_expire_between_two_runs(
    timetable: Scheduler, redis: Redis, shop: tuple[Settings, Sessions]
) -> None:
    """rq-scheduler drops a job whose record has expired, so it would never run again."""
    schedule.reconcile(timetable)
    for job in timetable.get_jobs():
        timetable.enqueue_job(job)
    SimpleWorker([Queue(name, connection=redis) for name in (QUEUE, SLOW_QUEUE)], connection=redis).work(burst=True)
    assert {job.get_status() for job in timetable.get_jobs()} == {"finished"}
    assert {redis.ttl(f"rq:job:{task.id}") for task in SCHEDULE} == {-1}


@pytest.mark.parametrize("task", SCHEDULE, ids=lambda task: task.job)
def test_every_task_names_a_job_that_exists_and_one_way_to_run(task: ScheduledJob) -> None:
    module, _, name = task.job.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
    assert (task.every is None) != (task.cron is None)
    assert task.cron is None or croniter.is_valid(task.cron)


def test_no_two_tasks_have_one_id() -> None:
    assert len({task.id for task in SCHEDULE}) == len(SCHEDULE)
