"""Own data: all of it as a file without secrets, and the end of an account with what lapses said in numbers."""

import json
from decimal import Decimal

from flask import Flask
from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.api_keys import KeyScope
from models.config.settings import Settings
from models.outbox import OutboxMail
from models.proxy_sessions import ProxySession
from models.services.accounts import api_keys, roles
from models.services.actor import PLATFORM, Actor
from models.services.admin import user_profile
from models.services.gateway import sessions
from models.users import User
from tests.conftest import PASSWORD
from tests.factories import actions, balance, buy, decided, top_up
from tests.portal.api.conftest import Program
from tests.portal.conftest import Browser, text_of
from tests.portal.views.shop.test_webhooks import hook


def used_token(session: Session, user: User, settings: Settings) -> AccessToken:
    """Sell a token to a user and activate it."""
    token = buy(session, user, settings, name="Laptop")
    facts = {"device": "a" * 20, "rules": settings.sessions, "actor": Actor(user.id, "198.51.100.9", "A client")}
    sessions.start_session(session, token.id, **facts)  # type: ignore[arg-type]
    session.commit()
    return token


def test_the_file_holds_all_that_is_the_users_own(
    as_alice: Browser, alice: User, bob: User, session: Session, settings: Settings
) -> None:
    token = used_token(session, alice, settings)
    used_token(session, bob, settings)
    payment = top_up(session, alice, settings)
    session.commit()
    answer = as_alice.post("/profile/export")
    assert answer.mimetype == "application/json"
    assert "attachment" in answer.headers["Content-Disposition"]
    found = json.loads(answer.text)
    assert found["profile"]["email"] == alice.email
    assert Decimal(found["profile"]["balance"]) == balance(session, alice)
    assert [row["id"] for row in found["tokens"]] == [str(token.id)]
    assert [row["ip_address"] for row in found["sessions"]] == ["198.51.100.9"]
    assert [row["id"] for row in found["payments"]] == [str(payment.id)]
    assert sum(Decimal(row["amount"]) for row in found["transactions"]) == balance(session, alice)
    assert [row["kind"] for row in found["logins"]] == ["page"]
    assert (found["api_keys"], found["webhooks"]) == ([], [])
    assert found["audit"][-1]["action"] == "user.exported"


def test_the_file_holds_no_secret_and_nothing_of_others(
    as_alice: Browser, alice: User, bob: User, session: Session, settings: Settings
) -> None:
    token = used_token(session, alice, settings)
    text = as_alice.post("/profile/export").text
    session.refresh(alice)
    for secret in (alice.password_hash, token.secret_hash.hex(), "password", "secret", bob.email, str(bob.id)):
        assert secret not in text


def test_the_page_shows_in_numbers_what_is_forfeited(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    used_token(session, alice, settings)
    page = as_alice.get("/profile/delete")
    assert "82.00" in text_of(page, "money")
    assert "Tokens that end immediately" in page.text


def test_a_deleted_account_is_anonymised_and_its_tokens_are_revoked(
    app: Flask, as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    token = used_token(session, alice, settings)
    stolen = as_alice.session_cookie()
    answer = as_alice.post("/profile/delete", current_password=PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/")
    assert as_alice.flashes("/") == "Your account has been deleted."
    session.expire_all()
    gone, row = session.get_one(User, alice.id), session.scalars(select(ProxySession)).one()
    assert (gone.full_name, gone.is_active, gone.deleted_at is not None) == (None, False, True)
    assert "alice" not in gone.email + gone.username
    assert (row.ip_address, row.user_agent, row.device_id) == ("", "", None)
    assert session.get_one(AccessToken, token.id).revoked_at is not None
    assert balance(session, gone) == 0
    assert actions(session, gone)[-1] == "user.deleted"
    [mail] = session.scalars(select(OutboxMail).where(OutboxMail.user_id == gone.id))
    assert (mail.kind, mail.recipient, mail.context["balance"]) == ("account_deleted", "alice@example.test", "82.00")
    thief = app.test_client()
    thief.set_cookie("zenzefi", stolen)
    assert thief.get("/dashboard").status_code == 302
    login = Browser(app.test_client()).post("/login", email="alice@example.test", password=PASSWORD)
    assert login.status_code == 401


def test_keys_webhooks_and_notes_are_deleted_with_the_account_and_the_ledger_stays(
    *, app: Flask, as_alice: Browser, alice: User, dana: User, session: Session, settings: Settings,
    connection: Connection,
) -> None:  # fmt: skip
    used_token(session, alice, settings)
    hook(session, alice, settings)
    facts = {"name": "Script", "scope": KeyScope.BUY, "days": None, "settings": settings, "actor": Actor(alice.id)}
    secret = api_keys.create(session, alice, **facts)[1]  # type: ignore[arg-type]
    user_profile.add_note(session, alice.id, text="Wrote to us about an invoice.", actor=Actor(dana.id))
    session.commit()
    program = Program(app.test_client(), **{"X-API-Key": secret})
    assert program.get("/currency/balance").status_code == 200
    exported = json.loads(as_alice.post("/profile/export").text)
    assert [len(exported[name]) for name in ("api_keys", "webhooks")] == [1, 1]
    as_alice.post("/notifications", low_balance="5", mail=["login"])
    as_alice.post("/profile/delete", current_password=PASSWORD)

    assert program.get("/currency/balance").status_code == 401
    left = {
        table
        for table in connection.scalars(
            text("SELECT table_name FROM information_schema.columns WHERE column_name = 'user_id'")
        ).all()
        if connection.scalar(text(f'SELECT count(*) FROM "{table}" WHERE user_id = :id'), {"id": alice.id})
    }
    # The ledger, the rows it refers to and the audit log stay; the deletion summary is the last e-mail.
    assert left == {"accounts", "access_tokens", "proxy_sessions", "audit_entries", "outbox_mails"}
    assert connection.scalar(text("SELECT count(*) FROM webhook_deliveries")) == 0
    # The test's money, a purchase, and what lapsed.
    assert connection.scalar(text("SELECT count(*) FROM transfers")) == 3


def test_the_address_and_the_name_are_free_again(as_alice: Browser, anonymous: Browser) -> None:
    as_alice.post("/profile/delete", current_password=PASSWORD)
    fields = {"email": "alice@example.test", "username": "alice", "password": PASSWORD}
    assert anonymous.post("/register", **fields).location == "/login"
    assert anonymous.post("/login", email="alice@example.test", password=PASSWORD).location == "/dashboard"


def test_an_account_is_not_deleted_without_the_password_and_guesses_count(
    as_alice: Browser, alice: User, session: Session
) -> None:
    codes = [as_alice.post("/profile/delete", current_password="a wrong one").status_code for _ in range(6)]
    assert codes == [400] * 5 + [429]
    session.refresh(alice)
    assert alice.is_active


def test_the_last_admin_cannot_delete_the_account(as_dana: Browser, dana: User, session: Session) -> None:
    answer = as_dana.post("/profile/delete", current_password=PASSWORD)
    assert answer.status_code == 400
    assert "The last admin cannot be removed." in answer.text
    session.refresh(dana)
    assert dana.is_active


def test_an_account_with_a_pending_payment_cannot_be_deleted(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    payment = top_up(session, alice, settings)
    session.commit()
    answer = as_alice.post("/profile/delete", current_password=PASSWORD)
    assert answer.status_code == 400
    assert "A payment is still pending." in answer.text
    decided(session, payment, settings)
    assert alice.deleted_at is None


def test_a_deleted_account_is_not_enabled_again(
    as_alice: Browser, as_dana: Browser, alice: User, session: Session
) -> None:
    as_alice.post("/profile/delete", current_password=PASSWORD)
    as_dana.post(f"/admin/users/{alice.id}/active", active="1")
    session.refresh(alice)
    assert not alice.is_active
    assert as_dana.get(f"/admin/users/{alice.id}").status_code == 200


def test_disabling_a_deleted_account_changes_nothing(as_alice: Browser, alice: User, session: Session) -> None:
    as_alice.post("/profile/delete", current_password=PASSWORD)
    assert roles.set_active(session, alice.id, active=False, actor=PLATFORM).is_active is False
