"""Figures through the API."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.daily_stats import DailyStats
from models.services.actor import Actor
from models.services.gateway import sessions, usage_counts
from models.services.gateway.usage_counts import SessionCounts
from models.services.reports import daily_stats
from models.services.tokens import revocation
from models.users import User
from ops.dev.page_profiler.queries import full_scans, record_queries
from tests.conftest import Clock
from tests.factories import buy
from tests.portal.api.conftest import Program, told


@pytest.fixture
def used(session: Session, alice: User, settings: Settings) -> None:
    """Alice has used a token today."""
    token = buy(session, alice, settings)
    opened = sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=Actor())
    usage_counts.add_counts(session, [SessionCounts(opened.id, 3, 100, 2000, clock.now())])
    revocation.revoke(session, alice, buy(session, alice, settings).id, settings=settings, actor=Actor(alice.id))
    session.commit()


@pytest.mark.parametrize(("period", "days"), [("day", 1), ("week", 7), ("month", 30)])
def test_my_usage_over_a_period(alices: Program, used: None, period: str, days: int) -> None:
    figures = told(alices.get("/analytics/usage", period=period), 200)
    assert len(figures.pop("days")) == days
    assert figures == {
        "period": period,
        "requests": 3,
        "bytes_in": 100,
        "bytes_out": 2000,
        "bytes_transferred": 2100,
        "sessions": 1,
        "active_tokens": 1,
    }


def test_usage_of_other_users_is_not_included(charlies: Program, used: None) -> None:
    assert told(charlies.get("/analytics/usage"), 200)["requests"] == 0
    told(charlies.get("/analytics/usage", period="year"), 422)


def test_the_whole_shop_for_admins(danas: Program, alices: Program, used: None) -> None:
    told(alices.get("/analytics/admin/global-stats"), 403)
    figures = told(danas.get("/analytics/admin/global-stats"), 200)
    assert figures == {
        "requests": 3,
        "bytes_in": 100,
        "bytes_out": 2000,
        "bytes_transferred": 2100,
        "sessions": 1,
        "users": 2,
        "active_users": 2,
        "active_tokens": 1,
        "active_sessions": 1,
        "revenue": "18.00",
        "purchases": 2,
    }


def test_purchases_are_added_up_from_days_and_only_the_last_two_are_counted(
    danas: Program, used: None, session: Session, connection: Connection
) -> None:
    assert daily_stats.update_days(session) >= daily_stats.DAYS
    long_ago = clock.now().date() - timedelta(days=400)
    session.add(DailyStats(day=long_ago, sold_znc=0, revenue_rub=0, new_users=0, purchases=5_000_000))
    session.commit()
    with record_queries() as found:
        assert told(danas.get("/analytics/admin/global-stats"), 200)["purchases"] == 5_000_002
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    assert full_scans(connection, found.queries, {"transfers"}) == []
    assert any("day_figures.purchases" in query.statement for query in found.queries)


def test_all_days_since_the_first_are_counted_once(session: Session, alice: User, time: Clock) -> None:
    alice.created_at = time.moment - timedelta(days=100)
    session.flush()
    assert daily_stats.update_days(session) == 101
    time.advance(days=3)
    assert daily_stats.update_days(session) == 4
