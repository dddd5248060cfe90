"""`/metrics` of the portal: for the ops networks alone, and right over everything that people do."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from jobs import queues
from models import clock
from models.audit import AuditAction, AuditEntry
from models.config import settings as config
from models.config.settings import Settings
from models.database import Sessions
from models.metrics import audit_counters
from models.metrics.catalogue import PORTAL
from models.outbox import OutboxMail
from models.payments import PaymentEvent
from models.services.actor import PLATFORM
from models.services.audit import hash_chain
from models.services.audit import verification as chain_verification
from models.services.ledger import verification as ledger_verification
from models.services.monitoring import last_success
from models.services.notifications import outbox
from models.services.payments import callbacks, settlement
from models.services.tokens import bundles, revocation
from ops.bootstrap import REPOSITORY, child_environment
from portal import create_app
from portal.status import metrics, metrics_collector
from tests.addon.processes import free_port
from tests.conftest import PASSWORD, some_id
from tests.factories import buy, decided, person, top_up
from tests.ops.conftest import wait_until
from tests.portal.conftest import Browser

Shop = tuple[Settings, Sessions]


def value(text: str, name: str, labels: str = "") -> float | None:
    """Return what a metric says; None when it says nothing."""
    found = re.search(rf"^{re.escape(name + labels)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


@pytest.fixture
def real(committed: Shop, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A portal with commits of its own, whose figures are never kept."""
    monkeypatch.setattr(metrics_collector, "CACHE_SECONDS", -1.0)
    return Browser(create_app(committed[0]).test_client())


def test_only_the_ops_networks_may_read_them(anonymous: Browser, as_dana: Browser) -> None:
    assert anonymous.get("/metrics").status_code == 200
    for browser in (anonymous, as_dana):
        assert browser.get("/metrics", environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code == 403
        # Through a proxy that nobody trusts, everybody would seem to be of the ops network.
        assert browser.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403


def test_an_unknown_method_gets_no_metric_label_of_its_own(anonymous: Browser) -> None:
    for number in range(3):
        for path in ("/", "/zzz", "/api/v1/health"):
            assert anonymous.client.open(path, method=f"MADE-UP-{number}").status_code in {404, 405}
    text = anonymous.get("/metrics").get_data(as_text=True)
    assert "MADE-UP" not in text
    assert 'portal_http_request_total{method="INVALID"' in text


@pytest.mark.parametrize(
    ("address", "forwarded", "status"),
    [
        ("10.244.3.7", None, 200),  # Prometheus in the cluster's own network
        ("::ffff:10.244.3.7", None, 200),  # the same where the portal listens on IPv6
        ("10.244.3.7", "203.0.113.9", 403),  # a stranger through the ingress, which is a trusted proxy
        ("10.244.3.7", "10.244.9.9, 203.0.113.9", 403),  # a forged internal address
        ("127.0.0.1", None, 403),
    ],
)
def test_the_setting_names_the_networks_that_may_read(
    environment: dict[str, str], settings: Settings, address: str, forwarded: str | None, status: int
) -> None:
    changed = {"ZENZEFI_PROXY__OPS_NETWORKS": '["10.244.0.0/16"]', "ZENZEFI_PORTAL__TRUSTED_PROXIES": "1"}
    portal = create_app(config.load_settings({**environment, **changed, "DATABASE_URL": settings.database.url}))
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    browser = Browser(portal.test_client())
    assert browser.get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code == status


def test_logins_and_requests_are_counted_by_result(real: Browser, committed: Shop) -> None:
    alice = person(committed[1], "alice")
    real.log_in(alice, "not her password")
    real.log_in(alice, PASSWORD)
    text = real.get("/metrics").text
    assert value(text, "auth_attempts_total", '{result="failure"}') == 1
    assert value(text, "auth_attempts_total", '{result="success"}') == 1
    assert 'portal_http_request_duration_seconds_count{endpoint="accounts.login"' in text
    assert value(text, "user_count") == 1
    assert (value(text, "database_connected"), value(text, "redis_connected")) == (1, 1)
    assert value(text, "jobs_waiting", '{queue="zenzefi"}') is not None


def test_sales_revocations_and_top_ups_are_counted_by_the_process_that_commits_them(
    real: Browser, committed: Shop, redis: Redis
) -> None:
    settings, sessions = committed
    audit_counters.follow(sessions, lambda totals: metrics.add_to_totals(redis, totals))
    alice = person(sessions, "alice", balance="500")
    with sessions.begin() as session:
        token = buy(session, alice, settings, hours=24)
        starter = bundles.on_sale(session, settings).items[0]
    with sessions.begin() as session:
        bundles.purchase(session, alice, starter.id, purchase_id=some_id(), settings=settings, actor=PLATFORM)
        revocation.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    with sessions.begin() as session:
        event = decided(session, top_up(session, alice, settings), settings)
        stored = callbacks.store_event(session, "mock", event)
        assert stored is not None
        settlement.settle(session, stored)
    text = real.get("/metrics").text
    hours = starter.duration_hours
    sold = starter.token_count + (1 if hours == 24 else 0)
    assert value(text, "token_purchases_total", f'{{duration_hours="{hours}"}}') == sold
    assert value(text, "token_revocations_total") == 1
    assert value(text, "balance_deposits_total") == 1


def test_pending_work_is_reported_with_its_age(real: Browser, committed: Shop, redis: Redis) -> None:
    settings, sessions = committed
    alice = person(sessions, "alice", balance="500")
    late = clock.now() - timedelta(minutes=10)
    with sessions.begin() as session:
        stored = callbacks.store_event(session, "mock", decided(session, top_up(session, alice, settings), settings))
        session.execute(
            update(PaymentEvent).where(PaymentEvent.id == stored).values(received_at=late, needs_review=True)
        )
        for key, more in (("due", {"next_attempt_at": late}), ("later", {}), ("gone", {"failed_at": late})):
            outbox.enqueue_mail(session, "welcome", alice, dedup_key=key, username="alice")
            later = {"next_attempt_at": clock.now() + timedelta(hours=1)}
            session.execute(update(OutboxMail).where(OutboxMail.dedup_key == key).values(**later | more))
        ledger_verification.record_check(session, ledger_verification.verify(sessions()))
        written = {"action": AuditAction.JOB_CHANGED, "origin": PLATFORM.origin, "resource_type": "job"}
        session.add(AuditEntry(created_at=late, **written))
        session.flush()
        key = hash_chain.key_of(settings.tokens)
        chain_verification.record_check(
            session, chain_verification.verify_and_record(session, key, recorded={1: b"as it was never"})
        )
    redis.set(last_success.BACKUP_KEY, last_success.backup_as_json(late, 12345))
    queues.Queue(queues.SLOW_QUEUE, connection=redis).enqueue("jobs.backups.create")
    text = real.get("/metrics").text
    waiting = {name: value(text, "backlog_waiting", f'{{of="{name}"}}') for name in ("mail", "callback", "payment")}
    assert waiting == {"mail": 3, "callback": 1, "payment": 1}  # with the welcome that Alice got as she registered
    for name in ("mail", "callback", "audit"):
        assert value(text, "backlog_oldest_seconds", f'{{of="{name}"}}') == pytest.approx(600, abs=30)
    assert value(text, "backlog_oldest_seconds", '{of="payment"}') == 0
    assert value(text, "backlog_given_up", '{of="mail"}') == 1
    assert value(text, "backup_last_success_timestamp_seconds") == pytest.approx(late.timestamp())
    assert value(text, "backup_size_bytes") == 12345
    assert value(text, "payments_to_review") == 1
    assert (value(text, "ledger_sound"), value(text, "ledger_account_znc", '{account="adjustments"}')) == (1, -500)
    assert value(text, "audit_sound") == 0
    assert value(text, "audit_verified_timestamp_seconds") == pytest.approx(clock.now().timestamp(), abs=30)
    assert value(text, "jobs_waiting", '{queue="zenzefi-slow"}') == 1
    assert (value(text, "job_workers", '{queue="zenzefi"}'), value(text, "job_scheduler_up")) == (0, 0)


def test_metrics_are_exactly_the_declared_ones(real: Browser, committed: Shop, redis: Redis) -> None:
    person(committed[1], "alice")
    with committed[1].begin() as session:
        ledger_verification.record_check(session, ledger_verification.verify(committed[1]()))
        chain_verification.record_check(
            session, chain_verification.verify_and_record(session, hash_chain.key_of(committed[0].tokens), recorded={})
        )
    redis.set(last_success.BACKUP_KEY, last_success.backup_as_json(clock.now(), 1))
    redis.hset(last_success.JOBS_KEY, "jobs.health.check", "1.5")
    for name in ("job_runs|a|failed", "job_duration|a|0", "notices_sent|mail|sent"):
        redis.hincrby(audit_counters.TOTALS_KEY, name, 1)
    real.get("/login")
    text = real.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(families) == {metric.name for metric in PORTAL}
    assert {name: family.type for name, family in families.items()} == {each.name: each.kind for each in PORTAL}
    wrong = {
        (metric.name, tuple(sample.labels))
        for metric in PORTAL
        for sample in families[metric.name].samples
        if {*sample.labels} - {"le"} != {*metric.labels}
    }
    assert wrong == set()


def test_metrics_of_processes_add_up_and_survive_a_dead_one(
    committed: Shop, environment: dict[str, str], redis: Redis, tmp_path: Path
) -> None:
    port = free_port()
    facts = {
        "DATABASE_URL": committed[0].database.url,
        "ZENZEFI_PORTAL__PORT": str(port),
        "ZENZEFI_PORTAL__PROCESSES": "2",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    command = [sys.executable, "-P", "-m", "gunicorn", "-c", "ops/container/gunicorn.conf.py", "portal:create_app()"]
    with subprocess.Popen(command, cwd=REPOSITORY, env={**child_environment(), **environment, **facts}) as master:
        try:
            children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
            wait_until(lambda: len(children.read_text().split()) == 2 and asked(port, "/health"))
            # Either process answers with what both have seen.
            login = '{endpoint="accounts.login",method="GET",status="200"}'
            for _ in range(20):
                asked(port, "/login")
            for _ in range(6):
                text = asked(port, "/metrics")
                assert value(text, "portal_http_request_duration_seconds_count", login) == 20
            assert value(text, "db_query_duration_seconds_count", '{query_type="select"}')
            assert value(text, "portal_exporter_info", '{version="0.23.2"}') == 1
            dead = children.read_text().split()[0]
            os.kill(int(dead), signal.SIGKILL)
            wait_until(lambda: dead not in children.read_text().split())
            asked(port, "/login")
            assert value(asked(port, "/metrics"), "portal_http_request_duration_seconds_count", login) == 21
            assert [path.name for path in (tmp_path / "metrics").glob(f"gauge_live*_{dead}.db")] == []
        finally:
            master.terminate()


def asked(port: int, path: str) -> str:
    """Return a page over a connection of its own, so that either process may have it; nothing while nobody listens."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_an_unhandled_error_is_counted_once_and_as_a_500(real: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("portal.views.public.pages.outages.load_availability", bug)
    assert real.get("/").status_code == 500
    text = real.get("/metrics").text
    for name in ("portal_http_request_exceptions_total", "portal_http_request_total"):
        assert value(text, name, '{method="GET",status="500"}') == 1


def test_rolled_back_rows_are_not_counted(committed: Shop) -> None:
    settings, sessions = committed
    alice = person(sessions, "alice", balance="500")
    seen: list[audit_counters.Totals] = []
    audit_counters.follow(sessions, seen.append)
    with sessions() as session:
        buy(session, alice, settings)
        session.rollback()
        inner = session.begin_nested()
        buy(session, alice, settings)
        inner.rollback()
        with session.begin_nested():
            buy(session, alice, settings, hours=1)
        assert seen == []
        session.commit()
    assert seen == [{"token_purchases|1": 1}]


def test_metrics_report_a_component_that_is_down_and_keep_the_rest(
    real: Browser, committed: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.status.metrics_collector._queue_figures", away)
    monkeypatch.setattr("portal.status.metrics_collector.totals", away)
    text = real.get("/metrics").text
    assert (value(text, "redis_connected"), value(text, "user_count")) == (0, 0)
    assert value(text, "auth_attempts_total") is None
    metrics.add_to_totals(Redis(port=1), Counter({"auth_attempts|success": 1}))
    monkeypatch.setattr("portal.status.metrics_collector.business_metrics.collect", broken)
    text = real.get("/metrics").text
    assert (value(text, "database_connected"), value(text, "user_count")) == (0, None)


def away(_redis: Redis) -> None:
    raise RedisError("down")


def broken(_session: Session) -> None:
    raise OperationalError("SELECT 1", {}, Exception("the server has gone away"))
