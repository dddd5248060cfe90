"""The page of own logins, and that an ended login is dead at its next request."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models import clock
from models.logins import Login, LoginKind
from models.users import User
from portal.presentation import user_agents
from tests.conftest import PASSWORD, Clock
from tests.factories import actions
from tests.portal.conftest import Browser, text_of

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0"


@pytest.fixture
def elsewhere(app: Flask, alice: User) -> Browser:
    """Alice's other browser."""
    browser = Browser(app.test_client())
    browser.client.environ_base["HTTP_USER_AGENT"] = FIREFOX
    browser.log_in(alice)
    return browser


def login_of(browser: Browser) -> str:
    """Return the id of the login that a browser holds."""
    with browser.client.session_transaction() as session_:
        return str(session_["_user_id"])


def test_the_page_names_each_device_and_marks_this_one(as_alice: Browser, elsewhere: Browser) -> None:
    page = as_alice.get("/profile/logins")
    assert page.text.count("data-login=") == 2
    assert "Firefox on Windows" in page.text
    assert text_of(page, "pill pill-good") == "this session"


def test_an_ended_login_and_its_cookie_are_invalid_immediately(
    app: Flask, as_alice: Browser, elsewhere: Browser
) -> None:
    stolen = elsewhere.session_cookie()
    assert as_alice.post(f"/profile/logins/{login_of(elsewhere)}/end").status_code == 303
    assert elsewhere.get("/dashboard").status_code == 302
    thief = app.test_client()
    thief.set_cookie("zenzefi", stolen)
    assert thief.get("/dashboard").status_code == 302
    assert as_alice.get("/dashboard").status_code == 200


def test_ending_this_login_leads_to_the_start_page(as_alice: Browser) -> None:
    answer = as_alice.post(f"/profile/logins/{login_of(as_alice)}/end")
    assert (answer.status_code, answer.location) == (303, "/")
    assert as_alice.get("/dashboard").status_code == 302


def test_the_cookie_is_invalid_after_logout(app: Flask, as_alice: Browser) -> None:
    stolen = as_alice.session_cookie()
    as_alice.post("/logout")
    thief = app.test_client()
    thief.set_cookie("zenzefi", stolen)
    assert thief.get("/dashboard").status_code == 302


def test_all_other_logins_end_and_this_one_stays(as_alice: Browser, elsewhere: Browser) -> None:
    as_alice.post("/profile/logins/end-others")
    assert as_alice.flashes("/profile/logins") == "1 other login session has ended."
    assert elsewhere.get("/dashboard").status_code == 302
    as_alice.post("/profile/logins/end-others")
    assert as_alice.flashes("/profile/logins") == "There were no other login sessions."


def test_logging_out_everywhere_ends_this_one_too(
    as_alice: Browser, elsewhere: Browser, alice: User, session: Session
) -> None:
    assert as_alice.post("/profile/logins/end-all").location == "/"
    assert [browser.get("/dashboard").status_code for browser in (as_alice, elsewhere)] == [302, 302]
    assert actions(session, alice)[-1] == "user.logins_ended"


def test_another_users_login_is_404_and_stays_open(as_charlie: Browser, as_alice: Browser) -> None:
    assert as_charlie.post(f"/profile/logins/{login_of(as_alice)}/end").status_code == 404
    assert as_alice.get("/dashboard").status_code == 200


def test_each_login_gets_a_row_of_its_own_so_that_a_planted_cookie_is_worth_nothing(
    app: Flask, as_charlie: Browser, alice: User
) -> None:
    """Charlie plants a session in alice's browser; her login must not use it (session fixation)."""
    planted = as_charlie.session_cookie()
    victim = Browser(app.test_client())
    victim.client.set_cookie("zenzefi", planted)
    victim.post("/logout")
    victim.log_in(alice)
    assert login_of(victim) != login_of(as_charlie)
    assert as_charlie.get("/dashboard").status_code == 302
    attacker = app.test_client()
    attacker.set_cookie("zenzefi", planted)
    assert attacker.get("/dashboard").status_code == 302


def test_an_api_login_gives_no_access_to_pages(app: Flask, as_alice: Browser, session: Session) -> None:
    session.execute(update(Login).where(Login.id == login_of(as_alice)).values(kind=LoginKind.API))
    session.commit()
    assert as_alice.get("/dashboard").status_code == 302


def test_a_page_that_is_only_read_writes_the_login_every_five_minutes_at_most(
    as_alice: Browser, session: Session, time: Clock
) -> None:
    seen = select(Login.last_seen_at)
    as_alice.get("/dashboard")
    before = session.scalar(seen)
    time.advance(minutes=4)
    as_alice.get("/dashboard")
    assert session.scalar(seen) == before
    time.advance(minutes=2)
    as_alice.get("/dashboard")
    assert session.scalar(seen) == clock.now()


def test_a_wrong_password_begins_no_login(anonymous: Browser, alice: User, session: Session) -> None:
    anonymous.log_in(alice, "wrong password")
    assert session.scalar(select(func.count()).select_from(Login)) == 0
    anonymous.log_in(alice, PASSWORD)
    assert session.scalar(select(func.count()).select_from(Login)) == 1


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (FIREFOX, "Firefox on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/131.0 Safari/537.36 Edg/131.0", "Edge on Linux"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/131.0 YaBrowser/24.1 Safari/537.36",
            "Yandex Browser on macOS",
        ),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/131.0 Mobile Safari/537.36", "Chrome on Android"),
        ("<script>alert(1)</script>", "Unknown device"),
        ("", "Unknown device"),
    ],
)
def test_a_user_agent_is_described(app: Flask, agent: str, words: str) -> None:
    with app.test_request_context():
        assert user_agents.device(Login(kind=LoginKind.PAGE, user_agent=agent)) == words


def test_a_program_is_called_one(app: Flask, alice: User, login: Callable[[User], Browser]) -> None:
    with app.test_request_context():
        assert user_agents.device(Login(kind=LoginKind.API, user_agent="python-requests/2.34")) == "A program (API)"
