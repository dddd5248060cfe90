"""Admin pages for users: search, list, changes to one or several."""

import uuid
from decimal import Decimal

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from models.audit import AuditAction, AuditEntry
from models.config.settings import Settings
from models.ledger import AccountKind
from models.services.actor import Actor
from models.services.gateway import sessions
from models.services.ledger import transfers
from models.user_notes import UserNote
from models.users import User
from tests.conftest import PASSWORD, make_user
from tests.factories import actions, buy, top_up
from tests.portal.conftest import Browser


def owe(session: Session, user: User, amount: str) -> None:
    account = transfers.personal_account(session, user.id, AccountKind.RECEIVABLE)
    account.balance = -Decimal(amount)
    session.flush()


def listed(browser: Browser, **query: str) -> list[str]:
    html = browser.get("/admin/users", query_string=query).text
    return [part.partition('"')[0] for part in html.split('aria-label="')[1:] if "@example.test" in part[:60]]


def test_users_are_filtered_and_sorted(as_dana: Browser, alice: User, session: Session) -> None:
    poor = make_user(session, "poor")
    gone = make_user(session, "gone", balance="7")
    gone.is_active = False
    owe(session, poor, "5")
    session.commit()
    assert listed(as_dana, state="disabled") == [gone.email]
    assert listed(as_dana, state="admins") == ["dana@example.test"]
    assert listed(as_dana, money="debt") == [poor.email]
    assert set(listed(as_dana, money="balance")) == {alice.email, gone.email}
    assert listed(as_dana, sort="-balance")[:2] == [alice.email, gone.email]
    assert listed(as_dana, sort="email") == sorted(listed(as_dana))
    assert len(listed(as_dana, state="x", money="y", sort="z")) == 4
    assert "debt 5.00 ZNC" in as_dana.get("/admin/users").text


def test_the_list_is_a_file_too_and_no_program_runs_it(as_dana: Browser, alice: User, session: Session) -> None:
    alice.full_name = "=1+1"
    session.commit()
    answer = as_dana.get("/admin/users?format=csv&q=alice")
    assert answer.mimetype == "text/csv"
    head, row = answer.text.splitlines()
    assert head == "id,email,username,full_name,is_active,is_superuser,created_at"
    assert ",'=1+1,True,False," in row


@pytest.mark.parametrize("number", range(5))
def test_one_search_field_finds_users_tokens_payments_and_requests(
    as_dana: Browser, alice: User, session: Session, settings: Settings, number: int
) -> None:
    token = buy(session, alice, settings)
    payment = top_up(session, alice, settings)
    session.commit()
    person, lists = f"/admin/users/{alice.id}", f"/admin/tokens?q={token.prefix}"
    wanted = [
        [("ALICE@example.test", person), ("Alice", person)],
        [(str(payment.id), f"/admin/payments/{payment.id}"), (str(alice.id), person)],
        [(token.prefix, lists), (f"{token.prefix}…", lists), (token.prefix + "x" * 56, lists), (str(token.id), lists)],
        [("nobody here", "/admin/users?q=nobody+here"), ("z" * 64, "/admin/users?q=zzzzzzzz"), ("", "/admin/users")],
        [(str(uuid.uuid4()), None)],
    ][number]
    for text, where in wanted:
        answer = as_dana.post("/admin/find", q=f" {text} ")
        assert (text, answer.status_code) == (text, 303)
        assert where is None or (text, answer.location) == (text, where)


def test_a_requests_id_leads_to_what_it_changed(as_dana: Browser, alice: User, session: Session) -> None:
    session.commit()
    answer = as_dana.post(f"/admin/users/{alice.id}/active", active="0")
    request_id = answer.headers["X-Request-ID"]
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == AuditAction.USER_DISABLED)).one()
    assert entry.request_id == request_id
    found = as_dana.post("/admin/find", q=request_id)
    assert found.location == f"/admin/audit?request={request_id}"
    assert as_dana.get(found.location).text.count("data-action=") == 1


def test_several_users_are_disabled_after_a_confirmation(
    as_dana: Browser, alice: User, bob: User, dana: User, session: Session
) -> None:
    session.commit()
    chosen = [str(alice.id), str(bob.id), str(dana.id)]
    asked = as_dana.post("/admin/users/bulk", user=chosen, action="disable")
    assert "3 users are signed out" in asked.text
    assert session.get_one(User, alice.id, populate_existing=True).is_active
    done = as_dana.post("/admin/users/bulk", user=chosen, action="disable", confirmed="1")
    assert done.location == "/admin/users"
    said = as_dana.flashes("/admin/users")
    assert "The last admin cannot be removed." in said
    assert "2 accounts disabled." in said
    assert [session.get_one(User, each.id, populate_existing=True).is_active for each in (alice, bob, dana)] == [
        False,
        False,
        True,
    ]
    assert as_dana.post("/admin/users/bulk", action="disable").location == "/admin/users"
    assert as_dana.post("/admin/users/bulk", user="no id", action="disable").location == "/admin/users"


def test_a_deleted_account_does_not_block_enabling_others(
    as_dana: Browser, as_charlie: Browser, charlie: User, alice: User, session: Session
) -> None:
    assert as_charlie.post("/profile/delete", current_password=PASSWORD).status_code == 303
    as_dana.post("/admin/users/bulk", user=str(alice.id), action="disable", confirmed="1")
    assert "1 account disabled." in as_dana.flashes("/admin/users")
    chosen = [str(charlie.id), str(alice.id)]
    assert as_dana.post("/admin/users/bulk", user=chosen, action="enable", confirmed="1").status_code == 303
    said = as_dana.flashes("/admin/users")
    assert "User not found." in said
    assert "1 account enabled." in said
    assert session.get_one(User, alice.id, populate_existing=True).is_active


def test_the_admin_role_is_granted_and_removed_except_from_the_last_admin(
    as_dana: Browser, alice: User, dana: User, session: Session
) -> None:
    session.commit()
    path = f"/admin/users/{alice.id}/superuser"
    as_dana.post(path, on="1")
    assert session.get_one(User, alice.id, populate_existing=True).is_superuser
    as_dana.post(path, on="0")
    assert actions(session, alice)[-2:] == [AuditAction.USER_PROMOTED, AuditAction.USER_DEMOTED]
    as_dana.post(f"/admin/users/{dana.id}/superuser", on="0")
    assert "The last admin cannot be removed." in as_dana.flashes()
    assert session.get_one(User, dana.id, populate_existing=True).is_superuser


def test_every_login_of_a_user_is_ended(as_dana: Browser, as_alice: Browser, alice: User) -> None:
    assert as_alice.get("/wallet").status_code == 200
    as_dana.post(f"/admin/users/{alice.id}/logins/end")
    assert as_alice.get("/wallet").status_code == 302


def test_notes_are_for_admins_only(as_dana: Browser, as_alice: Browser, alice: User, session: Session) -> None:
    as_dana.post(f"/admin/users/{alice.id}/notes", text="Called about <b>a refund</b>.")
    as_dana.post(f"/admin/users/{alice.id}/notes", text="x")
    assert session.scalars(select(UserNote.text)).all() == ["Called about <b>a refund</b>."]
    page = as_dana.get(f"/admin/users/{alice.id}").text
    assert "Called about &lt;b&gt;a refund&lt;/b&gt;." in page
    assert "a refund" not in as_alice.get("/profile").text


def test_a_user_profile_takes_few_queries(
    app: Flask, as_dana: Browser, alice: User, session: Session, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    sessions.start_session(
        session, token.id, device="d" * 20, rules=settings.sessions, actor=Actor(alice.id, "203.0.113.7")
    )
    top_up(session, alice, settings)
    session.commit()
    asked: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *call: asked.append(call[2]))
    for path in (f"/admin/users/{alice.id}", "/admin/users?sort=-balance&q=a"):
        asked.clear()
        session.expire_all()
        assert as_dana.get(path).status_code == 200
        assert len([each for each in asked if "SAVEPOINT" not in each]) <= 12, asked
