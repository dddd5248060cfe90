"""What an owner changes about a token: pause, extension, name, renewal, secret; and strangers who try."""

import re
import uuid
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.services.actor import PLATFORM
from models.services.crypto import secrets
from models.services.gateway import sessions
from models.users import User
from tests.conftest import Clock
from tests.factories import balance, buy
from tests.portal.conftest import Browser, attribute, text_of


@pytest.fixture
def token(session: Session, alice: User, settings: Settings, time: Clock) -> AccessToken:
    """A running token of alice's."""
    sold = buy(session, alice, settings, name="Laptop")
    sessions.start_session(session, sold.id, device=None, rules=settings.sessions, actor=PLATFORM)
    session.commit()
    return sold


def now_of(session: Session, token: AccessToken) -> AccessToken:
    """Return the token as the database has it now."""
    session.refresh(token)
    return token


def page_of(browser: Browser, token: AccessToken) -> str:
    return browser.get(f"/tokens/{token.id}").text


def test_a_token_is_paused_and_resumed_from_its_page(as_alice: Browser, token: AccessToken, time: Clock) -> None:
    assert f"/tokens/{token.id}/pause" in page_of(as_alice, token)
    assert as_alice.post(f"/tokens/{token.id}/pause").status_code == 303
    page = page_of(as_alice, token)
    assert 'data-state="paused"' in page
    assert re.search(r"/resume\".*?<button[^>]*disabled", page, re.DOTALL)
    # The end is written in the reader's time zone.
    as_alice.post("/profile/time-zone", time_zone="Asia/Kathmandu")
    as_alice.flashes()
    as_alice.post(f"/tokens/{token.id}/resume")
    earliest = (time() + timedelta(minutes=10)).astimezone(ZoneInfo("Asia/Kathmandu"))
    assert f"This pause cannot end before {earliest:%H:%M:%S} UTC+5:45." in as_alice.flashes()
    time.advance(minutes=10)
    as_alice.post(f"/tokens/{token.id}/resume")
    page = page_of(as_alice, token)
    assert 'data-state="active"' in page
    assert 'data-happening="paused"' in page
    assert 'data-seconds="600"' in page


def test_an_extension_shows_its_price_and_is_paid_once_however_often_it_is_sent(
    as_alice: Browser, alice: User, session: Session, token: AccessToken
) -> None:
    form = as_alice.get(f"/tokens/{token.id}/extend")
    assert re.search(r'value="24"[^>]*checked', form.text)
    assert re.search(r"</span>\. Balance:", form.text)
    order = {"hours": "12", "key": str(uuid.uuid4())}
    for said in ("Extended by 12 hours for 10.00 ZNC.", "was not charged twice"):
        answer = as_alice.post(f"/tokens/{token.id}/extend", **order)
        assert (answer.status_code, answer.location) == (303, f"/tokens/{token.id}")
        assert said in as_alice.flashes()
    assert (balance(session, alice), now_of(session, token).paid_seconds) == (72, 36 * 3600)
    assert "by 12 hours" in as_alice.get("/wallet").text
    assert 'data-happening="extended"' in page_of(as_alice, token)


@pytest.mark.parametrize("changes", [{"hours": "5"}, {"hours": "x"}, {"hours": ""}, {"key": "none"}])
def test_an_extension_that_is_not_for_sale_is_refused(
    as_alice: Browser, alice: User, session: Session, token: AccessToken, changes: dict[str, str]
) -> None:
    answer = as_alice.post(f"/tokens/{token.id}/extend", **{"hours": "1", "key": str(uuid.uuid4()), **changes})
    assert answer.status_code == 400
    assert text_of(answer, "field-error")
    assert balance(session, alice) == 82


def test_a_user_short_of_money_for_an_extension_is_led_to_a_top_up_and_back(
    as_alice: Browser, token: AccessToken
) -> None:
    answer = as_alice.post(f"/tokens/{token.id}/extend", hours="168", key=str(uuid.uuid4()))
    assert answer.status_code == 402
    link = re.search(r'href="([^"]+)" data-testid="top-up-link"', answer.text)
    assert link is not None
    wallet = as_alice.get(link[1].replace("&amp;", "&"))
    assert 'value="18.00"' in wallet.text
    assert f"/tokens/{token.id}/extend" in wallet.text


def test_a_name_is_changed_and_a_bad_one_refused(as_alice: Browser, session: Session, token: AccessToken) -> None:
    as_alice.post(f"/tokens/{token.id}/name", name="  <b>Desk</b> ")
    assert now_of(session, token).name == "<b>Desk</b>"
    assert "&lt;b&gt;Desk&lt;/b&gt;" in page_of(as_alice, token)
    as_alice.post(f"/tokens/{token.id}/name", name="x" * 51)
    assert "Use at most 50 characters." in as_alice.flashes()
    assert now_of(session, token).name == "<b>Desk</b>"


def test_the_renewal_is_switched_on_and_off(as_alice: Browser, session: Session, token: AccessToken) -> None:
    assert "Renewal: 1 day for 18 ZNC." in page_of(as_alice, token)
    as_alice.post(f"/tokens/{token.id}/renewal", on="1")
    assert now_of(session, token).auto_renew
    assert 'name="on" value="0"' in page_of(as_alice, token)
    as_alice.post(f"/tokens/{token.id}/renewal", on="0")
    assert not now_of(session, token).auto_renew


def test_a_new_secret_is_shown_once_and_a_form_sent_twice_replaces_once(
    as_alice: Browser, session: Session, token: AccessToken, settings: Settings
) -> None:
    form = as_alice.get(f"/tokens/{token.id}/secret")
    seen = re.search(r'name="seen"[^>]*value="(\d+)"', form.text)
    assert seen is not None
    answer = as_alice.post(f"/tokens/{token.id}/secret", seen=seen[1])
    assert answer.headers["Cache-Control"] == "no-store"
    shown = re.search(r'data-testid="secret"[^>]*>([^<]+)<', answer.text)
    assert shown is not None
    assert now_of(session, token).secret_hash == secrets.hash_of(settings.tokens, shown[1])
    again = as_alice.post(f"/tokens/{token.id}/secret", seen=seen[1])
    assert again.status_code == 303
    assert "The new one was shown once." in as_alice.flashes()
    assert now_of(session, token).secret_hash == secrets.hash_of(settings.tokens, shown[1])
    assert as_alice.post(f"/tokens/{token.id}/secret").status_code == 303


def test_another_users_token_is_not_found_and_not_changed(
    as_charlie: Browser, token: AccessToken, session: Session
) -> None:
    paths = ("pause", "resume", "name", "renewal", "extend", "secret")
    before = token.version
    for path in paths:
        sent = {"name": "mine", "on": "1", "hours": "1", "key": str(uuid.uuid4()), "seen": "1"}
        assert as_charlie.post(f"/tokens/{token.id}/{path}", **sent).status_code == 404
    for path in ("extend", "secret"):
        assert as_charlie.get(f"/tokens/{token.id}/{path}").status_code == 404
    session.refresh(token)
    assert (token.version, token.name, token.auto_renew) == (before, "Laptop", False)


def test_an_ended_token_is_not_changed_any_more(as_alice: Browser, token: AccessToken, time: Clock) -> None:
    time.advance(days=2)
    for path in ("extend", "secret"):
        assert as_alice.get(f"/tokens/{token.id}/{path}").status_code == 303
    as_alice.post(f"/tokens/{token.id}/extend", hours="1", key=str(uuid.uuid4()))
    assert "This token is already expired." in as_alice.flashes()
    # The way on is another one like it.
    again = re.search(r'href="(/tokens/buy\?[^"]+)"', page_of(as_alice, token))
    assert again is not None
    form = as_alice.get(again[1].replace("&amp;", "&")).text
    assert re.search(rf'value="{token.duration_hours}"[^>]*checked', form)
    assert f'value="{token.scope}" checked' in form
    page = page_of(as_alice, token)
    assert "/pause" not in page
    assert attribute(as_alice.get(f"/tokens/{token.id}"), "expires", "data-testid") == "expires"


def test_a_replaced_secret_can_be_ended_at_once_from_the_tokens_page(
    as_alice: Browser, as_charlie: Browser, session: Session, token: AccessToken
) -> None:
    path = f"/tokens/{token.id}/old-secret"
    assert path not in page_of(as_alice, token)
    assert as_alice.get(path).status_code == 302
    as_alice.post(f"/tokens/{token.id}/secret", seen="1")
    assert f'href="{path}"' in page_of(as_alice, token)
    assert f'action="{path}"' in as_alice.get(path).text
    assert as_charlie.get(path).status_code == 404
    assert as_charlie.post(path).status_code == 404
    assert now_of(session, token).previous_hash is not None
    for _ in range(2):
        assert as_alice.post(path).status_code == 303
    assert now_of(session, token).previous_hash is None
    as_alice.post(f"/tokens/{token.id}/secret", seen="2", at_once="y")
    assert now_of(session, token).previous_hash is None


def test_the_minimum_length_of_a_pause_is_shown_before_it_begins(
    as_alice: Browser, as_charlie: Browser, session: Session, token: AccessToken
) -> None:
    path = f"/tokens/{token.id}/pause"
    assert f'href="{path}"' in page_of(as_alice, token)
    question = as_alice.get(path).text
    assert "You can resume it after 10 minutes at the earliest." in question
    assert f'action="{path}"' in question
    assert now_of(session, token).paused_at is None
    assert as_charlie.get(path).status_code == 404
    as_alice.post(path)
    assert as_alice.get(path).status_code == 302
