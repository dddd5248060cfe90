"""The first page of a buyer: what needs attention is on top, and nothing else is."""

from datetime import timedelta

from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.services.actor import PLATFORM
from models.services.gateway import outages, sessions
from models.users import User
from tests.conftest import Clock
from tests.factories import buy
from tests.portal.conftest import Browser


def test_a_token_needs_attention_in_its_last_quarter_and_within_a_day(
    as_alice: Browser, alice: User, session: Session, settings: Settings, time: Clock
) -> None:
    for hours in (1, 12, 24):
        token = buy(session, alice, settings, hours=hours, name=f"for {hours}")
        sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    session.commit()
    # Who has just begun needs no warning, however short the time is.
    assert "expires in" not in as_alice.get("/dashboard").text
    time.advance(minutes=46)
    page = as_alice.get("/dashboard").text
    assert "for 1 expires in" in page
    assert page.count("expires in") == 1
    time.advance(hours=9)
    page = as_alice.get("/dashboard").text
    assert "for 12 expires in" in page
    assert "for 24 expires in" not in page


def test_a_long_token_needs_attention_on_its_last_day(
    as_alice: Browser, alice: User, session: Session, settings: Settings, time: Clock
) -> None:
    token = buy(session, alice, settings, hours=168, name="week")
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
    session.commit()
    time.advance(hours=143)
    assert "week expires in" not in as_alice.get("/dashboard").text
    time.advance(hours=2)
    assert "week expires in" in as_alice.get("/dashboard").text


def test_an_outage_is_shown_first(as_alice: Browser, session: Session, settings: Settings, time: Clock) -> None:
    gap = settings.upstream.probe_gap
    assert "The upstream is down." not in as_alice.get("/dashboard").text
    first = time() - timedelta(seconds=5)
    outages.note_failure(session, previous_failed_at=first, failed_at=time(), gap=gap)
    session.commit()
    assert "The upstream is down. Lost time of active tokens is credited afterwards." in as_alice.get("/dashboard").text
    outages.note_success(session, moment=time(), gap=gap)
    session.commit()
    assert "The upstream is down." not in as_alice.get("/dashboard").text
