"""`/metrics` of the portal: for the ops networks alone, and right over everything that people do."""

import re
from collections import Counter

import pytest
from redis import Redis
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models import counters
from models.config import Settings
from models.database import Sessions
from models.services import bundles, payments, tokens
from models.services.context import PLATFORM
from portal import create_app, metrics
from tests.conftest import PASSWORD, some_id
from tests.portal.conftest import Browser
from tests.support import buy, decided, person, top_up

Shop = tuple[Settings, Sessions]


def value(text: str, name: str, labels: str = "") -> float | None:
    """Return what a metric says; None when it says nothing."""
    found = re.search(rf"^{re.escape(name + labels)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


@pytest.fixture
def real(committed: Shop, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A portal with commits of its own, whose figures are never kept."""
    monkeypatch.setattr(metrics, "KEPT_SECONDS", -1.0)
    return Browser(create_app(committed[0]).test_client())


def test_only_the_ops_networks_may_read_them(anonymous: Browser, as_dana: Browser) -> None:
    assert anonymous.get("/metrics").status_code == 200
    for browser in (anonymous, as_dana):
        assert browser.get("/metrics", environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code == 403
        # Through a proxy that nobody trusts, everybody would seem to be of the ops network.
        assert browser.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403


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


def test_what_is_sold_ended_and_paid_in_is_counted_by_whichever_process_commits_it(
    real: Browser, committed: Shop, redis: Redis
) -> None:
    settings, sessions = committed
    counters.follow(sessions, lambda totals: metrics.add(redis, totals))
    alice = person(sessions, "alice", balance="500")
    with sessions.begin() as session:
        token = buy(session, alice, settings, hours=24)
        starter = bundles.on_sale(session, settings)[0][0]
    with sessions.begin() as session:
        bundles.purchase(session, alice, starter.id, purchase_id=some_id(), settings=settings, actor=PLATFORM)
        tokens.revoke(session, alice, token.id, settings=settings, actor=PLATFORM)
    with sessions.begin() as session:
        event = decided(session, top_up(session, alice, settings), settings)
        stored = payments.store_event(session, "mock", event)
        assert stored is not None
        payments.settle(session, stored)
    text = real.get("/metrics").text
    hours = starter.duration_hours
    sold = starter.token_count + (1 if hours == 24 else 0)
    assert value(text, "token_purchases_total", f'{{duration_hours="{hours}"}}') == sold
    assert value(text, "token_revocations_total") == 1
    assert value(text, "balance_deposits_total") == 1


def test_what_is_rolled_back_counts_for_nothing(committed: Shop) -> None:
    settings, sessions = committed
    alice = person(sessions, "alice", balance="500")
    seen: list[counters.Totals] = []
    counters.follow(sessions, seen.append)
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


def test_a_part_that_is_down_says_so_and_takes_nothing_else_along(
    real: Browser, committed: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.metrics._of_queue", lambda _: (_ for _ in ()).throw(metrics.RedisError("down")))
    text = real.get("/metrics").text
    assert (value(text, "redis_connected"), value(text, "user_count")) == (0, 0)
    assert value(text, "auth_attempts_total") is None
    metrics.add(Redis(port=1), Counter({"auth_attempts|success": 1}))
    monkeypatch.setattr("portal.metrics.overview.of_shop", broken)
    text = real.get("/metrics").text
    assert (value(text, "database_connected"), value(text, "user_count")) == (0, None)


def broken(_session: Session) -> None:
    raise OperationalError("SELECT 1", {}, Exception("the server has gone away"))
