"""A user's usage by day, week and month, of all tokens or one, as charts and as a file."""

import pytest
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.services.actor import PLATFORM
from models.services.gateway import sessions, usage_counts
from models.users import User
from tests.conftest import Clock
from tests.factories import buy
from tests.portal.conftest import Browser, text_of


@pytest.fixture
def used(session: Session, alice: User, settings: Settings, time: Clock) -> tuple[AccessToken, AccessToken]:
    """Two tokens of alice's: one that carried something today, one that did so yesterday."""
    found = []
    for requests in (5, 7):
        token = buy(session, alice, settings, hours=1, name=f"<i>{requests}")
        held = sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
        usage_counts.add_counts(session, [usage_counts.SessionCounts(held.id, requests, 10, 2048, time())])
        found.append(token)
        time.advance(days=-1)
    time.advance(days=2)
    session.commit()
    return found[0], found[1]


def figure(browser: Browser, **query: str) -> str:
    page = browser.get("/usage", query_string=query)
    assert page.status_code == 200
    return text_of(page, "figure-value")


def test_the_figures_are_those_of_all_tokens_or_of_the_one_chosen(
    as_alice: Browser, as_charlie: Browser, used: tuple[AccessToken, AccessToken]
) -> None:
    for period in ("day", "week", "month", "nonsense"):
        assert figure(as_alice, period=period) == "12"
    assert figure(as_alice, token=str(used[1].id)) == "7"
    assert figure(as_alice, token="nonsense") == "12"
    assert figure(as_charlie) == "0"
    for path in ("/usage", "/usage/csv"):
        assert as_charlie.get(path, query_string={"token": str(used[0].id)}).status_code == 404
    assert "&lt;i&gt;5" in as_alice.get("/usage").text


def test_the_file_has_a_line_for_each_period(
    *, as_alice: Browser, alice: User, session: Session, used: tuple[AccessToken, AccessToken], time: Clock
) -> None:
    answer = as_alice.get("/usage/csv", query_string={"token": str(used[0].id)})
    lines = answer.text.lstrip("\ufeff").splitlines()
    assert lines[0] == "first_day,requests,bytes_in,bytes_out,sessions,time_zone,first_day_utc"
    assert len(lines) == 31
    today = f"{time():%Y-%m-%d}"
    assert [line for line in lines[1:] if ",0,0,0,0,UTC," not in line] == [f"{today},5,10,2048,1,UTC,{today}"]
    assert "attachment" in answer.headers["Content-Disposition"]
    assert len(as_alice.get("/usage/csv?period=month").text.splitlines()) == 13
    alice.time_zone = "Asia/Tokyo"
    session.commit()
    assert as_alice.get("/usage/csv").text.splitlines()[1].endswith(",Asia/Tokyo,")


def test_amounts_of_data_have_the_units_of_the_readers_language(
    as_alice: Browser, used: tuple[AccessToken, AccessToken]
) -> None:
    as_alice.post("/preferences", lang="ru")
    page = as_alice.get(f"/tokens/{used[0].id}").text
    assert ">2,0 КиБ<" in page
    assert ">10 Б<" in page
    assert "KiB" not in page


def test_a_tokens_page_shows_its_days(as_alice: Browser, used: tuple[AccessToken, AccessToken]) -> None:
    page = as_alice.get(f"/tokens/{used[0].id}")
    assert "2.0 KiB" in page.text
    assert f"/usage?token={used[0].id}" in page.text
