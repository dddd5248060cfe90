"""Two-factor login: setting it up, logging in with it, and what must not get around it."""

import re
from typing import Any

import pyotp
import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from models.config.settings import Settings
from models.outbox import OutboxMail
from models.two_factor import RecoveryCode, TwoFactor
from models.users import User
from portal.extensions import db
from tests.conftest import PASSWORD, Clock
from tests.factories import actions
from tests.portal.conftest import Browser, text_of


class App:
    """An authenticator app, and the codes that its owner has saved."""

    def __init__(self, secret: str, time: Clock) -> None:
        self.totp = pyotp.TOTP(secret)
        self.time = time
        self.saved: list[str] = []

    def code(self) -> str:
        """Return the code of now."""
        return str(self.totp.at(self.time()))

    def next_code(self) -> str:
        """Wait for the next code."""
        self.time.advance(seconds=30)
        return self.code()


def shown(page: TestResponse, testid: str) -> str:
    found = re.search(rf'data-testid="{testid}"[^>]*>([^<]+)<', page.text)
    assert found is not None
    return found[1].strip()


def set_up(browser: Browser, time: Clock) -> App:
    """Set two-factor login up as a user does."""
    assert browser.post("/profile/two-factor/begin", current_password=PASSWORD).status_code == 303
    page = browser.get("/profile/two-factor/setup")
    phone = App(shown(page, "totp-secret").replace(" ", ""), time)
    page = browser.post("/profile/two-factor/setup", code=phone.code())
    assert page.status_code == 200
    phone.saved = shown(page, "recovery-codes").split()
    return phone


@pytest.fixture
def phone(as_alice: Browser, time: Clock) -> App:
    """Alice's."""
    return set_up(as_alice, time)


@pytest.fixture
def half(app: Flask, alice: User, phone: App) -> Browser:
    """A browser that knows alice's password."""
    browser = Browser(app.test_client())
    answer = browser.log_in(alice)
    assert (answer.status_code, answer.location) == (303, "/login/code")
    return browser


def test_it_is_set_up_with_a_picture_a_key_and_a_first_code(
    as_alice: Browser, time: Clock, alice: User, session: Session
) -> None:
    as_alice.post("/profile/two-factor/begin", current_password=PASSWORD)
    page = as_alice.get("/profile/two-factor/setup")
    assert "<svg" in page.text
    # Who reads the page on the telephone itself cannot take a picture of it.
    assert 'href="otpauth://totp/' in page.text
    assert 'data-copy="totp-secret"' in page.text
    assert " style=" not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    wrong = as_alice.post("/profile/two-factor/setup", code="000000")
    assert (wrong.status_code, text_of(wrong, "field-error")) == (400, "This code is incorrect or already used.")
    phone = App(shown(page, "totp-secret").replace(" ", ""), time)
    assert len(shown(as_alice.post("/profile/two-factor/setup", code=phone.code()), "recovery-codes").split()) == 10
    assert actions(session, alice)[-1] == "two_factor.on"
    assert "two_factor_on" in session.scalars(select(OutboxMail.kind)).all()


def test_until_a_code_has_confirmed_it_the_password_is_enough(app: Flask, as_alice: Browser, alice: User) -> None:
    as_alice.post("/profile/two-factor/begin", current_password=PASSWORD)
    assert Browser(app.test_client()).log_in(alice).location == "/dashboard"


def test_setting_it_up_needs_the_password(as_alice: Browser) -> None:
    assert as_alice.post("/profile/two-factor/begin", current_password="a wrong one").status_code == 400
    assert as_alice.get("/profile/two-factor/setup").location == "/profile/two-factor"


def test_a_factor_that_is_on_is_not_replaced_without_a_code(as_alice: Browser, phone: App) -> None:
    answer = as_alice.post("/profile/two-factor/begin", current_password=PASSWORD)
    assert answer.status_code == 400
    assert as_alice.get("/profile/two-factor/setup").location == "/profile/two-factor"


def test_a_correct_password_gives_no_access_without_its_code(half: Browser, phone: App) -> None:
    assert half.get("/dashboard").status_code == 302
    assert half.post("/login/code", code="000000").status_code == 401
    assert half.get("/dashboard").status_code == 302
    answer = half.post("/login/code", code=phone.next_code(), next="/wallet")
    assert (answer.status_code, answer.location) == (303, "/wallet")
    assert half.get("/dashboard").status_code == 200


def test_a_code_that_was_used_is_not_taken_again_nor_is_an_older_one(
    app: Flask, half: Browser, alice: User, phone: App
) -> None:
    older = phone.next_code()
    code = phone.next_code()
    assert half.post("/login/code", code=code).status_code == 303
    for used in (code, older):
        second = Browser(app.test_client())
        second.log_in(alice)
        assert second.post("/login/code", code=used).status_code == 401


def test_a_code_works_half_a_minute_around_and_no_longer(half: Browser, phone: App) -> None:
    old = phone.next_code()
    phone.time.advance(seconds=90)
    assert half.post("/login/code", code=old).status_code == 401
    late = phone.code()
    phone.time.advance(seconds=30)
    assert half.post("/login/code", code=f"{late[:3]} {late[3:]}").status_code == 303


def test_a_recovery_code_works_once(app: Flask, half: Browser, alice: User, phone: App, session: Session) -> None:
    code = phone.saved[0].upper()
    assert half.post("/login/code", code=code).status_code == 303
    assert actions(session, alice)[-2:] == ["recovery_code.used", "user.logged_in"]
    second = Browser(app.test_client())
    second.log_in(alice)
    assert second.post("/login/code", code=code).status_code == 401
    assert second.post("/login/code", code=phone.saved[1]).status_code == 303


def test_the_right_password_is_remembered_for_five_minutes_and_not_after_a_new_one(
    half: Browser, alice: User, as_alice: Browser, phone: App
) -> None:
    phone.time.advance(seconds=301)
    assert half.post("/login/code", code=phone.code()).location == "/login"
    half.log_in(alice)
    fields = {"current_password": PASSWORD, "new_password": "another long one", "repeated": "another long one"}
    as_alice.post("/profile/password", **fields)
    assert half.post("/login/code", code=phone.code()).location == "/login"


def test_codes_are_counted_by_user_from_wherever_they_are_tried(app: Flask, alice: User, phone: App) -> None:
    codes = []
    for number in range(25):
        browser = Browser(app.test_client())
        browser.client.environ_base["REMOTE_ADDR"] = f"203.0.113.{number}"
        browser.log_in(alice)
        codes.append(browser.post("/login/code", code="000000").status_code)
    assert codes == [401] * 20 + [429] * 5


def test_wrong_codes_count_as_failed_logins(half: Browser, alice: User, session: Session) -> None:
    codes = [half.post("/login/code", code="000000").status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    assert actions(session, alice).count("user.login_failed") == 5  # type: ignore[arg-type]


def test_the_login_after_the_code_is_a_fresh_session(half: Browser, phone: App) -> None:
    with half.client.session_transaction() as planted:
        planted["planted"] = "by somebody else"
    half.post("/login/code", code=phone.next_code())
    with half.client.session_transaction() as session_:
        assert not {"planted", "half"} & set(session_)


def test_turning_it_off_needs_password_and_code(
    app: Flask, as_alice: Browser, alice: User, phone: App, session: Session
) -> None:
    for password, code in ((PASSWORD, "000000"), ("a wrong one", phone.next_code())):
        answer = as_alice.post("/profile/two-factor/off", current_password=password, code=code)
        assert answer.status_code == 400
    good = {"current_password": PASSWORD, "code": phone.next_code()}
    assert as_alice.post("/profile/two-factor/off", **good).status_code == 303
    assert Browser(app.test_client()).log_in(alice).location == "/dashboard"
    assert session.scalars(select(RecoveryCode)).all() == []
    assert actions(session, alice)[-2] == "two_factor.off"


def test_new_recovery_codes_end_the_old(app: Flask, as_alice: Browser, alice: User, phone: App) -> None:
    seen = re.search(r'name="seen"[^>]*value="(\d+)"', as_alice.get("/profile/two-factor").text)
    assert seen is not None
    sent = {"current_password": PASSWORD, "code": phone.next_code(), "seen": seen[1]}
    page = as_alice.post("/profile/two-factor/codes", **sent)
    fresh = shown(page, "recovery-codes").split()
    assert not set(fresh) & set(phone.saved)
    # A reload sends the form again: no other set is made, and no wrong code is counted.
    for again in (sent, sent | {"code": phone.next_code()}, {**sent, "seen": ""}):
        assert as_alice.post("/profile/two-factor/codes", **again).location == "/profile/two-factor"
    assert "shown once" in as_alice.flashes()
    browser = Browser(app.test_client())
    browser.log_in(alice)
    assert browser.post("/login/code", code=phone.saved[0]).status_code == 401
    assert browser.post("/login/code", code=fresh[0]).status_code == 303


def test_a_copy_of_the_database_gives_no_access(phone: App, session: Session) -> None:
    row = session.scalars(select(TwoFactor)).one()
    assert phone.totp.secret.encode() not in row.sealed_secret
    hashes = b"".join(session.scalars(select(RecoveryCode.code_hash)))
    assert all(code.replace("-", "").encode() not in hashes for code in phone.saved)


def test_after_the_portals_key_was_replaced_recovery_codes_still_work(
    app: Flask, half: Browser, phone: App, session: Session
) -> None:
    row = session.scalars(select(TwoFactor)).one()
    row.sealed_secret = row.sealed_secret[:-1] + bytes([row.sealed_secret[-1] ^ 1])
    session.commit()
    db.session.remove()
    assert half.post("/login/code", code=phone.next_code()).status_code == 401
    assert half.post("/login/code", code=phone.saved[0]).status_code == 303


def test_an_admin_resets_it_with_a_reason_and_the_owner_is_notified(
    as_dana: Browser, as_alice: Browser, alice: User, phone: App, session: Session
) -> None:
    path = f"/admin/users/{alice.id}/two-factor"
    assert "turned on" in as_dana.get(path).text
    assert as_dana.post(path, reason="x").status_code == 400
    assert as_dana.post(path, reason="Lost the phone").status_code == 303
    assert as_alice.get("/dashboard").status_code == 302
    assert as_alice.log_in(alice).location == "/dashboard"
    assert "two_factor.reset" in actions(session, alice)
    [mail] = session.scalars(select(OutboxMail).where(OutboxMail.kind == "two_factor_reset"))
    assert (mail.recipient, mail.context["reason"]) == (alice.email, "Lost the phone")


def test_the_admin_area_can_require_two_factor_authentication(
    app: Flask, settings: Settings, as_dana: Browser, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = settings.portal.model_copy(update={"admin_two_factor": True})
    monkeypatch.setitem(app.extensions, "zenzefi", settings.model_copy(update={"portal": portal}))
    for path in ("/admin/", "/admin/users"):
        assert as_dana.get(path).location == "/profile/two-factor"
    assert "The admin area opens once it is on." in as_dana.get("/profile/two-factor").text
    assert as_dana.get("/dashboard").status_code == 200
    set_up(as_dana, time)
    assert as_dana.get("/admin/users").status_code == 200


@pytest.mark.parametrize(
    ("where", "setting", "needed"),
    [
        ("production", None, True),
        ("development", None, False),
        ("production", False, False),
        ("development", True, True),
    ],
)
def test_admins_need_it_in_production_unless_it_is_set_otherwise(
    settings: Settings, where: str, setting: bool | None, needed: bool
) -> None:
    platform = settings.platform.model_copy(update={"environment": where})
    portal = settings.portal.model_copy(update={"admin_two_factor": setting})
    assert settings.model_copy(update={"platform": platform, "portal": portal}).admin_two_factor is needed


def test_the_api_asks_for_the_code(anonymous: Browser, alice: User, phone: App) -> None:
    def log_in(**more: Any) -> TestResponse:
        return anonymous.client.post("/api/v1/auth/login", json={"email": alice.email, "password": PASSWORD, **more})

    first = log_in()
    assert (first.status_code, first.json and first.json["detail"]) == (401, "otp_required")
    assert log_in(otp="000000").status_code == 401
    code = phone.next_code()
    assert log_in(otp=code).status_code == 200
    assert log_in(otp=code).status_code == 401
    assert log_in(otp=phone.saved[0]).status_code == 200
