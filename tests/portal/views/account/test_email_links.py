"""Mailed links: confirming, forgotten passwords, another address; what they do once, and what they never tell."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from jobs import email_links
from models.config.settings import Settings
from models.email_links import EmailLink
from models.outbox import OutboxMail
from models.services.accounts import roles, users
from models.services.actor import PLATFORM
from models.users import User
from tests.conftest import PASSWORD, Clock
from tests.factories import actions
from tests.portal import mail_helpers
from tests.portal.conftest import Browser, Jobs, text_of
from tests.portal.mail_helpers import Mailbox
from tests.portal.views.account.test_two_factor import set_up

NEW = {"email": "erin@example.test", "username": "erin", "password": PASSWORD}
OTHER = "another long one"
SET = {"new_password": OTHER, "repeated": OTHER}
RESET, CONFIRM = "Set a new password", "Confirm your e-mail address"


@pytest.fixture
def post(app: Flask, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with mail_helpers.running(app, settings, connection, monkeypatch) as box:
        yield box


@pytest.fixture
def browsers(app: Flask) -> Callable[[], Browser]:
    return lambda: Browser(app.test_client())


def follow(browser: Browser, link: str) -> Any:
    """Click on a link in a mail, as a browser does."""
    answer = browser.get(link)
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    return answer if answer.status_code == 410 else browser.get(answer.location)


def test_an_api_registration_sends_the_link_at_once_and_logins_are_refused_until_it_is_used(
    anonymous: Browser, post: Mailbox, queued: Jobs
) -> None:
    assert anonymous.client.post("/api/v1/auth/register", json=NEW).status_code == 201
    assert queued == [("jobs.email_links.send_links",)]
    own = {"email": NEW["email"], "password": PASSWORD}
    early = anonymous.client.post("/api/v1/auth/login", json=own)
    assert early.status_code == 401
    assert early.json is not None
    assert early.json["detail"] == "Incorrect e-mail address or password, or the address is not confirmed yet."
    follow(anonymous, post.link(CONFIRM))
    anonymous.post("/confirm-email")
    assert anonymous.client.post("/api/v1/auth/login", json=own).status_code == 200


def test_a_new_user_logs_in_after_confirming_the_address(anonymous: Browser, post: Mailbox) -> None:
    anonymous.post("/register", **NEW)
    assert (
        anonymous.flashes("/login")
        == "Check your e-mail for the next step, also if this address already had an account."
    )
    early = anonymous.post("/login", email=NEW["email"], password=PASSWORD)
    assert (early.status_code, text_of(early, "alert")) == (
        401,
        "Incorrect e-mail address or password, or the address is not confirmed yet.",
    )
    page = follow(anonymous, post.link(CONFIRM))
    assert NEW["email"] in page.text
    assert anonymous.post("/confirm-email").location == "/login"
    assert anonymous.post("/login", email=NEW["email"], password=PASSWORD).status_code == 303
    assert [subject for _to, subject, _text in post.arrived(welcomes=True)] == ["Welcome to Zenzefi"]


def test_a_link_leaves_at_once_and_does_not_wait_for_the_next_round_of_mails(anonymous: Browser, post: Mailbox) -> None:
    anonymous.post("/register", **NEW)
    assert email_links.send_links() == 1
    assert [(letter.to, letter.subject) for letter in post.sink.letters()] == [(NEW["email"], CONFIRM)]


def test_following_a_link_changes_nothing_until_its_button_is_pressed(
    browsers: Callable[[], Browser], post: Mailbox, session: Session
) -> None:
    """A mail scanner follows it first."""
    browsers().post("/register", **NEW)
    link = post.link(CONFIRM)
    for _ in range(3):
        assert "Confirm" in follow(browsers(), link).text
    erin = session.scalars(select(User).where(User.username == "erin")).one()
    session.refresh(erin)
    assert erin.awaits_confirmation


def test_a_link_works_once(browsers: Callable[[], Browser], post: Mailbox, alice: User) -> None:
    browsers().post("/forgot-password", email=alice.email)
    link = post.link(RESET)
    first, second = browsers(), browsers()
    for browser in (first, second):
        follow(browser, link)
    assert first.post("/reset-password", **SET).location == "/login"
    assert second.post("/reset-password", **SET).status_code == 410
    assert follow(browsers(), link).status_code == 410
    assert first.log_in(alice, OTHER).status_code == 303


def test_a_link_expires(browsers: Callable[[], Browser], post: Mailbox, alice: User, time: Clock) -> None:
    browser = browsers()
    browser.post("/forgot-password", email=alice.email)
    time.advance(seconds=2)
    link = post.link(RESET)
    follow(browser, link)
    time.advance(minutes=61)
    assert browser.post("/reset-password", **SET).status_code == 410
    expired = follow(browser, link)
    assert expired.status_code == 410
    assert "We can send a new one." in expired.text


def test_a_new_password_by_link_ends_every_login_and_every_other_link(
    as_alice: Browser, browsers: Callable[[], Browser], post: Mailbox, alice: User, session: Session
) -> None:
    browsers().post("/forgot-password", email=alice.email)
    older = post.link(RESET)
    browsers().post("/forgot-password", email=alice.email)
    newer = post.link(RESET)
    browser = browsers()
    follow(browser, newer)
    browser.post("/reset-password", **SET)
    assert as_alice.get("/dashboard").status_code == 302
    assert browser.get("/dashboard").status_code == 302, "a second factor, if there is one, is still asked for"
    assert follow(browsers(), older).status_code == 410
    assert [to for to, subject, _text in post.arrived() if subject == "Your password was changed"] == [alice.email]
    assert "user.password_reset" in actions(session, alice)


def test_registering_another_persons_address_first_gives_no_access_to_it(
    browsers: Callable[[], Browser], post: Mailbox, session: Session
) -> None:
    """Mallory registers erin's address with a password of hers, and waits for erin to confirm it."""
    mallory, erin = browsers(), browsers()
    mallory.post("/register", **{**NEW, "username": "mallory", "password": "mallory's password"})
    post.arrived()
    erin.post("/register", **NEW)
    follow(erin, post.link(RESET))
    erin.post("/reset-password", **SET)
    assert mallory.post("/login", email=NEW["email"], password="mallory's password").status_code == 401
    assert erin.post("/login", email=NEW["email"], password=OTHER).status_code == 303


def test_the_number_of_e_mails_to_a_user_is_limited(
    browsers: Callable[[], Browser], post: Mailbox, alice: User
) -> None:
    for number in range(5):
        browser = browsers()
        browser.client.environ_base["REMOTE_ADDR"] = f"203.0.113.{number}"
        browser.post("/forgot-password", email=alice.email)
    assert len(post.arrived()) == 3


def test_an_ip_address_can_request_ten_links_an_hour(anonymous: Browser, post: Mailbox) -> None:
    codes = [anonymous.post("/forgot-password", email=f"{n}@example.test").status_code for n in range(11)]
    assert codes == [303] * 10 + [429]


def test_a_new_address_applies_once_confirmed_and_the_old_one_is_notified(
    as_alice: Browser, browsers: Callable[[], Browser], post: Mailbox, alice: User, session: Session
) -> None:
    fields = {"email": "alice@example.org", "current_password": PASSWORD}
    assert as_alice.post("/profile/email", **fields).location == "/profile"
    link = post.link("Confirm your new address")
    assert browsers().post("/login", email="alice@example.org", password=PASSWORD).status_code == 401
    assert "alice@example.org" in follow(as_alice, link).text
    assert as_alice.post("/confirm-email").location == "/profile"
    ((to, subject, text),) = post.arrived()
    assert (to, subject) == ("alice@example.test", "Your e-mail address was changed")
    assert "alice@example.org" in text
    assert browsers().post("/login", email="alice@example.org", password=PASSWORD).status_code == 303
    assert actions(session, alice).count("user.email_changed") == 1  # type: ignore[arg-type]


def test_a_link_to_the_old_address_is_invalid_after_a_change(
    as_alice: Browser, browsers: Callable[[], Browser], post: Mailbox, alice: User
) -> None:
    browsers().post("/forgot-password", email=alice.email)
    old = post.link(RESET)
    as_alice.post("/profile/email", email="alice@example.org", current_password=PASSWORD)
    follow(as_alice, post.link("Confirm your new address"))
    as_alice.post("/confirm-email")
    assert follow(browsers(), old).status_code == 410


def test_a_new_address_needs_the_password_and_guesses_count(as_alice: Browser, post: Mailbox) -> None:
    fields = {"email": "alice@example.org", "current_password": "a wrong one"}
    codes = [as_alice.post("/profile/email", **fields).status_code for _ in range(6)]
    assert codes == [400] * 5 + [429]
    assert post.arrived() == []


def test_an_address_that_was_taken_meanwhile_is_not_taken_over(
    as_alice: Browser, post: Mailbox, alice: User, session: Session
) -> None:
    as_alice.post("/profile/email", email=NEW["email"], current_password=PASSWORD)
    follow(as_alice, post.link("Confirm your new address"))
    users.register(session, actor=PLATFORM, **NEW)  # type: ignore[arg-type]
    session.commit()
    assert as_alice.post("/confirm-email").status_code == 410
    session.refresh(alice)
    assert alice.email == "alice@example.test"


def test_no_secret_of_a_link_is_in_the_database(
    browsers: Callable[[], Browser], post: Mailbox, alice: User, session: Session
) -> None:
    browsers().post("/forgot-password", email=alice.email)
    secret = post.link(RESET).removeprefix("/links/")
    row = session.scalars(select(EmailLink)).one()
    mails = session.scalars(select(OutboxMail)).all()
    assert secret not in str([vars(mail) for mail in mails]) + str(vars(row))
    assert secret.encode() not in row.secret_hash


def test_a_disabled_user_gets_no_link(
    browsers: Callable[[], Browser], post: Mailbox, alice: User, session: Session
) -> None:
    roles.set_active(session, alice.id, active=False, actor=PLATFORM)
    session.commit()
    post.arrived()
    browsers().post("/forgot-password", email=alice.email)
    assert post.arrived() == []


@pytest.mark.parametrize("secret", ["x", "A" * 43, "%00", "..", "a b"])
def test_an_invalid_link_is_shown_as_expired(anonymous: Browser, secret: str) -> None:
    assert anonymous.get(f"/links/{secret}").status_code in {400, 404, 410}


def test_the_pages_of_a_link_need_one(anonymous: Browser) -> None:
    assert anonymous.get("/reset-password").location == "/forgot-password"
    assert anonymous.get("/confirm-email").location == "/confirm-again"
    assert anonymous.post("/reset-password", **SET).location == "/forgot-password"


def test_a_link_for_one_thing_does_no_other(
    as_alice: Browser, browsers: Callable[[], Browser], post: Mailbox, alice: User, session: Session
) -> None:
    as_alice.post("/profile/email", email="alice@example.org", current_password=PASSWORD)
    browser = browsers()
    follow(browser, post.link("Confirm your new address"))
    assert browser.post("/reset-password", **SET).location == "/forgot-password"
    assert browser.log_in(alice).status_code == 303


def test_without_a_mail_server_the_pages_explain_the_consequences(anonymous: Browser, as_alice: Browser) -> None:
    for browser, path in ((anonymous, "/forgot-password"), (anonymous, "/confirm-again"), (as_alice, "/profile/email")):
        page = browser.get(path)
        assert "e-mail is not set up in this shop yet" in page.text.lower()
        assert 'name="email"' not in page.text
        assert browser.post(path, email="x@example.test", current_password=PASSWORD).status_code == 200


def test_a_password_set_by_link_does_not_get_around_a_second_factor(
    as_alice: Browser, browsers: Callable[[], Browser], post: Mailbox, alice: User, time: Clock
) -> None:
    set_up(as_alice, time)
    browser = browsers()
    browser.post("/forgot-password", email=alice.email)
    time.advance(seconds=2)
    follow(browser, post.link(RESET))
    browser.post("/reset-password", **SET)
    assert browser.log_in(alice, OTHER).location == "/login/code"


def test_a_confirmation_acts_on_the_link_that_its_page_showed(
    as_alice: Browser, post: Mailbox, alice: User, session: Session
) -> None:
    """Two tabs of one browser, each with the page of another link: the session keeps only the one followed last."""
    shown = []
    for email in ("first@example.test", "second@example.test"):
        as_alice.post("/profile/email", email=email, current_password=PASSWORD)
        page = follow(as_alice, post.link("Confirm your new address"))
        assert email in page.text
        shown.append(re.findall(r'name="shown" value="([^"]+)"', page.text)[0])
    answer = as_alice.post("/confirm-email", shown=shown[0])
    assert (answer.status_code, "second@example.test" in answer.text) == (400, True)
    session.refresh(alice)
    assert alice.email == "alice@example.test"
    assert as_alice.post("/confirm-email", shown=shown[1]).status_code == 303


def test_a_new_password_is_set_for_the_link_that_its_page_showed(
    browsers: Callable[[], Browser], post: Mailbox, alice: User, bob: User, session: Session
) -> None:
    browser, shown = browsers(), []
    for user in (alice, bob):
        browser.post("/forgot-password", email=user.email)
        page = follow(browser, post.link(RESET))
        assert user.email in page.text
        shown.append(re.findall(r'name="shown" type="hidden" value="([^"]+)"', page.text)[0])
    assert browser.post("/reset-password", **SET, shown=shown[0]).status_code == 400
    assert browser.post("/reset-password", **SET, shown=shown[1]).status_code == 303
    session.refresh(alice)
    assert alice.password_version == 1


def test_a_link_sets_no_easy_password_and_is_not_used_up_by_one(
    browsers: Callable[[], Browser], post: Mailbox, alice: User
) -> None:
    browser = browsers()
    browser.post("/forgot-password", email=alice.email)
    follow(browser, post.link(RESET))
    for new in ("password", PASSWORD):
        assert browser.post("/reset-password", new_password=new, repeated=new).status_code == 400
    assert browser.post("/reset-password", **SET).status_code == 303
