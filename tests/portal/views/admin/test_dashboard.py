"""Admin dashboard, announcements and jobs."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from flask import Flask
from redis import Redis
from rq import Queue, Worker
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from addon.admission import refusals
from jobs import queues
from models import clock
from models.announcements import Announcement
from models.audit import AuditAction
from models.config.settings import Settings
from models.daily_stats import DailyStats
from models.ledger import Transfer, TransferKind
from models.outbox import OutboxMail
from models.services.admin import dashboard as admin_dashboard
from models.services.gateway import workers as gateway_workers
from models.services.ledger import verification as ledger_verification
from models.services.ledger.verification import Report
from models.services.reports import daily_stats, overview
from models.users import User
from portal import ROOT
from portal.presentation.job_names import JOBS
from portal.presentation.refusal_reasons import SHORT
from portal.request import context
from portal.request.announcement_banner import current_announcements
from portal.status import components
from tests.conftest import Clock
from tests.factories import actions, buy
from tests.models.services.ledger.test_statements import dated
from tests.portal.conftest import Browser, Jobs, text_of


def fail() -> None:
    """Fail, as a job."""
    raise ValueError("<b>it is broken</b>")


@pytest.fixture
def queue(redis: Redis) -> Queue:
    """The queue of the test's own Redis."""
    return Queue(queues.QUEUE, connection=redis)


def report(**faults: list[str]) -> Report:
    return Report(transfers=0, turnover=Decimal(0), balances={}, faults=faults)


def test_items_that_need_attention_are_on_top(as_dana: Browser, session: Session, redis: Redis, queue: Queue) -> None:
    ledger_verification.record_check(session, report())
    session.commit()
    page = as_dana.get("/admin/").text
    assert re.findall(r'data-stopped="(\w+)"', page) == ["proxy", "jobs", "scheduler"]
    assert "Nothing needs attention." not in page
    redis.hset(gateway_workers.GAUGES, "one", f"{int(clock.now().timestamp())} 1 0 1")
    redis.set(queues.SCHEDULER_KEY, "now")
    Worker([queue], connection=redis).register_birth()
    assert "Nothing needs attention." in as_dana.get("/admin/").text
    ledger_verification.record_check(session, report(balances=["a wallet"]))
    session.commit()
    page = as_dana.get("/admin/")
    assert "Ledger verification failed: balances" in text_of(page, "alert alert-bad")
    assert "Nothing needs attention." not in page.text


def test_past_days_are_counted_once_and_recent_days_again(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    buy(session, alice, settings, hours=24)
    assert daily_stats.update_days(session) == daily_stats.DAYS
    buy(session, alice, settings, hours=1)
    assert daily_stats.update_days(session) == 2
    today = session.get_one(DailyStats, time.moment.date(), populate_existing=True)
    assert today.sold_znc == Decimal(19)
    assert today.new_users >= 1
    assert len(admin_dashboard.load_dashboard(session, settings).days) == daily_stats.DAYS
    assert admin_dashboard.load_dashboard(session, settings).sold_today == 19


def test_days_of_the_statistics_follow_the_platforms_time_zone(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    # 31 December, 22:30 UTC is 1 January in Moscow.
    time.moment = datetime(2026, 12, 31, 23, 0, tzinfo=UTC)
    buy(session, alice, settings, hours=24)
    sold = session.scalars(select(Transfer).where(Transfer.kind == TransferKind.PURCHASE)).one()
    dated(session, datetime(2026, 12, 31, 22, 30, tzinfo=UTC), sold)
    platform = settings.platform.model_copy(update={"time_zone": "Europe/Moscow"})
    daily_stats.update_days(session)
    assert admin_dashboard.load_dashboard(session, settings).days[-1].day == date(2026, 12, 31)
    assert admin_dashboard.load_dashboard(session, settings).sold_today == 18
    # After a change of the time zone all days are counted again.
    assert daily_stats.update_days(session, "Europe/Moscow") >= daily_stats.DAYS
    today = admin_dashboard.load_dashboard(session, settings.model_copy(update={"platform": platform})).days[-1]
    assert (today.day, today.sold_znc, today.purchases) == (date(2027, 1, 1), 18, 1)
    assert sum(row.purchases for row in session.scalars(select(DailyStats))) == 1
    assert overview.totals(session).purchases == 1
    assert daily_stats.update_days(session) >= daily_stats.DAYS
    assert session.scalars(select(DailyStats.day).where(DailyStats.purchases > 0)).all() == [date(2026, 12, 31)]


def test_the_dashboard_names_the_time_zone_of_its_days(as_dana: Browser) -> None:
    assert "Days follow the time zone UTC." in as_dana.get("/admin/").text


def test_parts_and_refusals_are_shown(as_dana: Browser, redis: Redis) -> None:
    redis.hset(
        gateway_workers.TOTALS, mapping={"refusals|scope_denied": 7, "refusals|rate_limited": 1200, "bytes|in": 5}
    )
    redis.hset(gateway_workers.GAUGES, "one", f"{int(clock.now().timestamp())} 1 0 1")
    redis.hset(gateway_workers.GAUGES, "gone", "1000 1 0 1")
    html = as_dana.get("/admin/").text
    assert html.index('data-refusal="rate_limited"') < html.index('data-refusal="scope_denied"')
    assert "1 worker" in html
    assert '<dt title="scope_denied">path outside the token&#39;s scope</dt>' in html


def test_every_rejection_of_the_proxy_has_a_label_for_admins() -> None:
    source = "".join(path.read_text() for path in (ROOT / "addon/http1").rglob("*.py"))
    of_the_layer = set(re.findall(r'(?:Refuse\(|HeadError\([^()]*, )\d{3}, "(\w+)"', source))
    assert {"internal", "uri_too_long", "overloaded"} < of_the_layer
    assert of_the_layer | set(refusals._TABLE) == set(SHORT)


def test_the_dashboard_works_without_redis_and_takes_few_queries(
    app: Flask, as_dana: Browser, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "redis", lambda: Redis.from_url("redis://127.0.0.1:1"))
    asked: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *call: asked.append(call[2]))
    assert as_dana.get("/admin/").status_code == 200
    assert len([each for each in asked if "SAVEPOINT" not in each]) <= 12, asked
    assert 'data-stopped="redis"' in as_dana.get("/admin/").text
    assert "the state of jobs is unknown" in as_dana.get("/admin/jobs").text


def test_an_admin_starts_a_ledger_verification(as_dana: Browser, queued: Jobs) -> None:
    assert as_dana.post("/admin/verify").location == "/admin/"
    assert queued == [("jobs.cleanup.verify_ledger",)]
    assert "Ledger verification has started." in as_dana.flashes("/admin/")


def test_without_redis_a_ledger_verification_is_not_announced(
    as_dana: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_job: str) -> None:
        raise queues.QueueDown("connection refused")

    monkeypatch.setattr(context, "enqueue", down)
    assert as_dana.post("/admin/verify").location == "/admin/"
    assert as_dana.flashes("/admin/") == "Redis is not responding. Please try again later."


def announce(browser: Browser, **changes: str) -> int:
    words = {"words_en": "We <b>relocate</b>.", "words_ru": "Мы переезжаем.", "level": "warn"}
    return browser.post("/admin/announcements", **{**words, "starts_at": "", "ends_at": "", **changes}).status_code


def test_a_form_sent_twice_creates_one_announcement(as_dana: Browser, session: Session) -> None:
    found = re.search(r'name="key"[^>]*value="([^"]+)"', as_dana.get("/admin/announcements").text)
    key = found[1] if found else ""
    assert [announce(as_dana, key=key) for _ in range(2)] == [303, 303]
    assert session.scalar(select(func.count()).select_from(Announcement)) == 1
    told = select(func.count()).where(OutboxMail.kind == "announcement")
    assert session.scalar(told) == session.scalar(select(func.count()).select_from(User))
    assert announce(as_dana, key="x") == 400


def test_an_announcement_is_shown_in_both_languages_and_can_be_dismissed(
    as_dana: Browser, as_alice: Browser, anonymous: Browser, session: Session
) -> None:
    assert announce(as_dana) == 303
    assert "We &lt;b&gt;relocate&lt;/b&gt;." in anonymous.get("/").text
    as_alice.post("/preferences", lang="ru")
    assert "Мы переезжаем." in as_alice.get("/wallet").text
    found = session.scalars(select(Announcement)).one()
    assert anonymous.post(f"/announcements/{found.id}/seen", next="/login").location == "/login"
    assert anonymous.post(f"/announcements/{found.id}/seen", next="//evil.test").location == "/"
    assert "relocate" not in anonymous.get("/").text
    assert "Мы переезжаем." in as_alice.get("/wallet").text
    as_dana.post(f"/admin/announcements/{found.id}/withdraw")
    assert "Мы переезжаем." not in as_alice.get("/wallet").text
    assert as_dana.get("/admin/announcements?format=csv").text.count("\n") == 2


def test_an_announcement_outlives_the_transaction_that_read_it(
    app: Flask, as_dana: Browser, anonymous: Browser
) -> None:
    assert announce(as_dana) == 303
    with app.test_request_context("/"):
        assert len(current_announcements()) == 1
        context.session().rollback()
    assert "relocate" in anonymous.get("/").text


def test_an_announcement_is_shown_from_its_start_and_its_fields_are_validated(
    as_dana: Browser, anonymous: Browser
) -> None:
    later = f"{clock.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"
    assert announce(as_dana, starts_at=later) == 303
    assert "relocate" not in anonymous.get("/").text
    assert announce(as_dana, ends_at="2001-01-01T00:00") == 400
    assert announce(as_dana, words_ru="") == 400
    assert announce(as_dana, level="loud") == 400


def test_every_job_has_a_name_for_admins() -> None:
    sources = [path for folder in ("jobs", "portal") for path in (ROOT / folder).rglob("*.py")]
    sources = [path for path in sources if path.name not in {"job_names.py", "renamed.py"}]
    asked_for = {name for path in sources for name in re.findall(r'"(jobs\.\w+\.\w+)"', path.read_text())}
    assert asked_for == set(JOBS)


def test_a_failed_job_can_be_retried_or_removed(
    as_dana: Browser, dana: User, session: Session, queue: Queue, redis: Redis
) -> None:
    for _ in range(2):
        queue.enqueue(fail)
    Worker([queue], connection=redis).work(burst=True)
    page = as_dana.get("/admin/jobs").text
    assert page.count("data-job=") == 2
    assert "No job worker is running" in page
    assert "ValueError: &lt;b&gt;it is broken&lt;/b&gt;" in page
    first, second = queue.failed_job_registry.get_job_ids()
    as_dana.post("/admin/jobs/again", job=first)
    as_dana.post("/admin/jobs/remove", job=second)
    assert queue.get_job_ids() == [first]
    assert queue.failed_job_registry.count == 0
    assert actions(session, dana)[-2:] == [AuditAction.JOB_CHANGED] * 2
    as_dana.post("/admin/jobs/again", job="nothing")
    assert "This job no longer exists." in as_dana.flashes("/admin/jobs")
