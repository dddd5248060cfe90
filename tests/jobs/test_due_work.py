"""Jobs with something to do are enqueued, once; mails and webhooks wake theirs when their transaction commits."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy.orm import Session

from jobs import audit, context, due_work, mail, queues, rq_workers
from models.config.settings import Settings
from models.database import Sessions
from models.outages import Outage
from models.services.actor import PLATFORM
from models.services.gateway import sessions as proxy_sessions
from models.services.monitoring import due_work as due_work_queries
from models.services.notifications import outbox
from models.services.payments import callbacks
from models.services.tokens import pause
from models.users import User
from models.webhooks import WebhookDelivery, WebhookEndpoint
from tests.conftest import Clock
from tests.factories import buy, decided, top_up

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[..., Any]], Any]
MAIL = "jobs.mail.send_pending"


@pytest.fixture
def idle(buyer: User) -> User:
    """The buyer, for whom no work is due any more."""
    audit.chain_new_rows()
    mail.send_pending()
    queues.queue().empty()
    return buyer


def queued() -> list[str]:
    """Return the names of the queued jobs."""
    return [str(job.func_name) for job in queues.queue().jobs]


def notify(session: Session, user: User, key: str = "a") -> None:
    """Enqueue a mail."""
    outbox.enqueue_mail(session, "welcome", user, dedup_key=key, username=user.username)


def work_off() -> None:
    """Run all queued jobs as the worker does."""
    own = queues.queue()
    worker = rq_workers.ShortWorker([own], connection=own.connection, deadline=rq_workers.new_deadline())
    worker.work(burst=True)


def test_without_due_work_nothing_is_enqueued(idle: User) -> None:
    assert due_work.enqueue_due() == []
    assert queued() == []


def test_a_job_with_due_work_is_enqueued_once_until_it_starts(idle: User, run: Run) -> None:
    run(lambda session: notify(session, idle))
    assert due_work.enqueue_due() == due_work.enqueue_due() == [MAIL]
    assert queued() == [MAIL]
    work_off()
    assert due_work.enqueue_due() == []


def test_every_kind_of_due_work_has_its_job() -> None:
    assert set(due_work.JOBS) == set(due_work_queries.KINDS)


def test_new_mails_and_audit_rows_are_due(buyer: User) -> None:
    assert due_work.enqueue_due() == [MAIL, "jobs.audit.chain_new_rows"]


def test_a_callback_whose_job_was_lost_is_due_after_a_while(
    shop: Committed, buyer: User, run: Run, time: Clock
) -> None:
    run(lambda s: callbacks.store_event(s, "mock", decided(s, top_up(s, buyer, shop[0]), shop[0])))
    audit.chain_new_rows()
    assert "jobs.payments.sweep_events" not in due_work.enqueue_due()
    time.advance(seconds=20)
    assert "jobs.payments.sweep_events" in due_work.enqueue_due()


def test_a_pause_is_due_when_it_reaches_its_limit(shop: Committed, buyer: User, run: Run, time: Clock) -> None:
    def begin(session: Session) -> None:
        token = buy(session, buyer, shop[0])
        proxy_sessions.start_session(session, token.id, device=None, rules=shop[0].sessions, actor=PLATFORM)
        pause.pause(session, buyer, token.id, settings=shop[0], actor=PLATFORM)

    run(begin)
    assert "jobs.token_time.end_pauses" not in due_work.enqueue_due()
    time.advance(days=30)
    assert "jobs.token_time.end_pauses" in due_work.enqueue_due()


def test_a_closed_outage_is_due_until_it_is_credited(idle: User, run: Run, time: Clock) -> None:
    began = time() - timedelta(minutes=10)
    run(lambda s: s.add(Outage(opened_at=began, last_failed_at=began, closed_at=time())))
    assert due_work.enqueue_due() == ["jobs.token_time.credit_outages"]


def test_a_delivery_is_due_unless_its_endpoint_backs_off(idle: User, run: Run, time: Clock) -> None:
    endpoint = WebhookEndpoint(user_id=idle.id, url="https://example.com/", topics=["bonus"], secret=b"x")
    delivery = WebhookDelivery(endpoint=endpoint, kind="bonus", data={}, dedup_key="1", next_attempt_at=time())
    run(lambda session: session.add(delivery))
    assert due_work.enqueue_due() == ["jobs.webhooks.send_pending"]

    def back_off(session: Session) -> None:
        session.get_one(WebhookEndpoint, endpoint.id).rests_until = time() + timedelta(hours=1)

    run(back_off)
    assert due_work.enqueue_due() == []


def test_a_commit_with_a_mail_wakes_its_job_once(idle: User) -> None:
    for number in (1, 2):
        with context.sessions().begin() as session:
            notify(session, idle, f"{number}")
    assert queued() == [MAIL]
    work_off()
    with context.sessions().begin() as session:
        notify(session, idle, "3")
    assert queued() == [MAIL]


def test_a_rolled_back_mail_wakes_nothing(idle: User) -> None:
    with context.sessions()() as session:
        notify(session, idle)
        session.rollback()
        session.commit()
    assert queued() == []


def test_without_redis_the_commit_succeeds(
    idle: User, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    monkeypatch.setattr(context, "redis", lambda: nobody)
    with context.sessions().begin() as session:
        notify(session, idle)
    assert f"{MAIL} not woken" in caplog.text
    assert due_work.enqueue_due() == [MAIL]
