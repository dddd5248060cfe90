"""Registering, logging in, passwords: what works. What nobody may learn or do: tests/abuse/portal."""

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.outbox import OutboxMail
from models.services.accounts import passwords, roles
from models.services.actor import PLATFORM
from models.users import User
from tests.conftest import PASSWORD
from tests.factories import actions
from tests.portal.conftest import Browser, text_of

NEW = {"email": "erin@example.test", "username": "erin", "password": PASSWORD}


def test_a_new_user_can_log_in_and_sees_an_empty_wallet(anonymous: Browser) -> None:
    answer = anonymous.post("/register", **NEW)
    assert (answer.status_code, answer.location) == (303, "/login")
    assert "You can sign in now." in anonymous.get("/login").text
    answer = anonymous.post("/login", email=NEW["email"], password=PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/dashboard")
    assert 'data-amount="0.00"' in anonymous.get("/dashboard").text


@pytest.mark.parametrize("email", ["alice@example.test", "free@example.test"])
def test_a_taken_username_is_reported_for_any_address(anonymous: Browser, alice: User, email: str) -> None:
    answer = anonymous.post("/register", email=email, username="ALICE", password=PASSWORD)
    assert answer.status_code == 400
    assert "This username is already taken." in answer.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no address"),
        ("email", ""),
        ("username", "ab"),
        ("username", "a b c"),
        ("password", "short"),
        ("password", "x" * 129),
        ("email", "a" * 250 + "@example.test"),
    ],
)
def test_a_faulty_field_is_named_and_the_password_is_not_shown_again(
    anonymous: Browser, session: Session, field: str, value: str
) -> None:
    answer = anonymous.post("/register", **{**NEW, field: value})
    assert answer.status_code == 400
    assert text_of(answer, "field-error")
    assert PASSWORD not in answer.text
    assert session.scalar(select(User.id)) is None


def test_a_failed_login_is_audited_also_for_an_unknown_address(app: Flask, alice: User, session: Session) -> None:
    for email in (alice.email, "nobody@example.test"):
        answer = Browser(app.test_client()).post("/login", email=email, password="wrong password")
        assert text_of(answer, "alert") == "Incorrect e-mail address or password."
    assert actions(session)[-2:] == [AuditAction.USER_LOGIN_FAILED] * 2


def test_a_disabled_user_cannot_log_in_and_is_logged_out(
    anonymous: Browser, as_alice: Browser, alice: User, session: Session
) -> None:
    roles.set_active(session, alice.id, active=False, actor=PLATFORM)
    session.commit()
    assert as_alice.get("/dashboard").status_code == 302
    answer = anonymous.log_in(alice)
    assert answer.status_code == 401
    assert "This account is disabled." in answer.text


def test_five_failed_logins_block_that_address_only(app: Flask, alice: User) -> None:
    browser = Browser(app.test_client())
    codes = [browser.log_in(alice, "wrong password").status_code for _ in range(5)]
    assert codes == [401] * 5
    answer = browser.log_in(alice)
    assert answer.status_code == 429
    assert 50 < int(answer.headers["Retry-After"]) <= 60
    assert "Try again in 1 minute." in answer.text
    elsewhere = app.test_client()
    elsewhere.environ_base["REMOTE_ADDR"] = "203.0.113.50"
    assert Browser(elsewhere).log_in(alice).status_code == 303


def test_successful_logins_are_not_counted(app: Flask, alice: User) -> None:
    for _ in range(8):
        assert Browser(app.test_client()).log_in(alice).status_code == 303


def test_a_new_password_ends_every_other_login(app: Flask, as_alice: Browser, alice: User) -> None:
    other = Browser(app.test_client())
    other.log_in(alice)
    before = as_alice.session_cookie()
    fields = {"current_password": PASSWORD, "new_password": "another long one", "repeated": "another long one"}
    assert as_alice.post("/profile/password", **fields).status_code == 303
    assert as_alice.get("/dashboard").status_code == 200
    assert other.get("/dashboard").status_code == 302
    stolen = app.test_client()
    stolen.set_cookie("zenzefi", before)
    assert stolen.get("/dashboard").status_code == 302
    assert other.log_in(alice).status_code == 401
    assert other.log_in(alice, "another long one").status_code == 303


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"current_password": "wrong password"}, "The current password is incorrect."),
        ({"new_password": "short", "repeated": "short"}, "Use 8 to 128 characters."),
        ({"repeated": "something else"}, "The passwords do not match."),
    ],
)
def test_a_password_is_not_changed_by_a_faulty_form(
    as_alice: Browser, alice: User, session: Session, fields: dict[str, str], message: str
) -> None:
    good = {"current_password": PASSWORD, "new_password": "another long one", "repeated": "another long one"}
    answer = as_alice.post("/profile/password", **{**good, **fields})
    assert answer.status_code == 400
    assert message in answer.text
    session.refresh(alice)
    assert passwords.verify_password(alice.password_hash, PASSWORD)


def test_guessing_the_current_password_is_limited_like_a_login(as_alice: Browser) -> None:
    fields = {"current_password": "a wrong one", "new_password": "another long one", "repeated": "another long one"}
    codes = [as_alice.post("/profile/password", **fields).status_code for _ in range(6)]
    assert codes == [400] * 5 + [429]


def test_logging_in_starts_a_fresh_session(app: Flask, alice: User) -> None:
    browser = Browser(app.test_client())
    with browser.client.session_transaction() as planted:
        planted["planted"] = "by somebody else"
    browser.log_in(alice)
    with browser.client.session_transaction() as session_:
        assert "planted" not in session_
        assert session_.permanent


def test_logging_out_ends_the_login_and_is_recorded(as_alice: Browser, alice: User, session: Session) -> None:
    answer = as_alice.post("/logout")
    assert (answer.status_code, answer.location) == (303, "/")
    assert as_alice.get("/dashboard").status_code == 302
    assert actions(session, alice)[-1] == AuditAction.USER_LOGGED_OUT


@pytest.mark.parametrize("garbage", ["", ":", "x:1", "00000000-0000-0000-0000-000000000000:1"])
def test_a_cookie_without_a_login_is_ignored(anonymous: Browser, garbage: str) -> None:
    with anonymous.client.session_transaction() as session_:
        session_["_user_id"] = garbage
    assert anonymous.get("/dashboard").status_code == 302


def test_a_local_return_path_is_kept(anonymous: Browser, alice: User) -> None:
    way = anonymous.get("/tokens/buy?duration_hours=24&scope=full").location
    assert "/tokens/buy?duration_hours%3D24%26scope%3Dfull" in way
    back = "/tokens/buy?duration_hours=24&scope=full"
    assert anonymous.post("/login", email=alice.email, password=PASSWORD, next=back).location == back


def test_a_logged_in_user_needs_no_login_page(as_alice: Browser) -> None:
    assert as_alice.get("/login").location == "/dashboard"
    assert as_alice.get("/register").location == "/dashboard"


def test_registering_writes_the_welcome_mail(anonymous: Browser, session: Session) -> None:
    anonymous.post("/register", **NEW)
    assert session.scalars(select(OutboxMail.recipient)).all() == [NEW["email"]]


def test_mails_are_in_the_language_that_the_portal_was_set_to(anonymous: Browser, session: Session) -> None:
    anonymous.post("/preferences", lang="ru")
    anonymous.post("/register", **NEW)
    user = session.scalars(select(User).where(User.email == NEW["email"])).one()
    assert user.language == "ru"
    anonymous.log_in(user, NEW["password"])
    anonymous.post("/preferences", theme="dark")
    anonymous.post("/preferences", lang="no such language")
    assert user.language == "ru"
    anonymous.post("/preferences", lang="en")
    session.refresh(user)
    assert user.language == "en"


def test_an_easy_password_is_refused_at_its_field(anonymous: Browser, as_alice: Browser, session: Session) -> None:
    answer = anonymous.post("/register", **{**NEW, "password": "password"})
    assert (answer.status_code, "easy to guess" in text_of(answer, "field-error")) == (400, True)
    for new, said in (("12345678", "easy to guess"), (PASSWORD, "already your password")):
        fields = {"current_password": PASSWORD, "new_password": new, "repeated": new}
        answer = as_alice.post("/profile/password", **fields)
        assert (answer.status_code, said in text_of(answer, "field-error")) == (400, True)


@pytest.mark.parametrize("email", ["alice@example.test", "erin@example.test"])
def test_the_message_after_registration_is_true_for_a_taken_address_too(
    anonymous: Browser, alice: User, *, email: str
) -> None:
    anonymous.post("/register", **{**NEW, "email": email})
    page = anonymous.get("/login")
    assert text_of(page, "flashes") == (
        "You can sign in now. If this address already had an account, nothing has changed: use its password."
    )
    assert 'href="/forgot-password"' in page.text


@pytest.mark.parametrize("contact", ["", "help@example.test"])
def test_without_mail_the_page_for_a_forgotten_password_names_a_contact(
    app: Flask, anonymous: Browser, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, contact: str
) -> None:
    seller = settings.seller.model_copy(update={"contact": contact})
    monkeypatch.setitem(app.extensions, "zenzefi", settings.model_copy(update={"seller": seller}))
    page = anonymous.get("/forgot-password").text
    said = f"For a new password write to {contact}." if contact else "Ask the admin of this shop"
    assert said in page


def test_all_mistakes_of_a_registration_are_shown_at_once_an_easy_password_included(anonymous: Browser) -> None:
    answer = anonymous.post("/register", email="no address", username="ab", password="password")
    assert answer.text.count('class="field-error"') == 3
    assert "easy to guess" in answer.text
