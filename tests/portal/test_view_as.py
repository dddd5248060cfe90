"""View as user: an admin sees what the user sees, for a quarter of an hour, and changes nothing."""

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditEntry
from models.outbox import OutboxMail
from models.services.accounts import roles
from models.services.actor import PLATFORM
from models.users import User
from tests.conftest import Clock, make_user
from tests.factories import actions
from tests.portal.conftest import Browser
from tests.portal.views.admin.test_settings import save


@pytest.fixture
def viewer(as_dana: Browser, alice: User) -> Browser:
    """Dana's browser, which shows alice's portal."""
    answer = as_dana.post(f"/admin/users/{alice.id}/view-as", reason="She asked for help")
    assert (answer.status_code, answer.location) == (303, "/dashboard")
    return as_dana


def test_the_admin_sees_what_the_user_sees_under_a_banner(viewer: Browser, alice: User) -> None:
    page = viewer.get("/dashboard")
    assert "Hello, alice" in page.text
    assert 'data-amount="100.00"' in page.text
    assert 'data-testid="view-as"' in page.text
    assert alice.email in viewer.get("/profile").text


def test_impersonation_is_audited_with_its_reason_and_the_user_is_notified(
    viewer: Browser, alice: User, dana: User, session: Session
) -> None:
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "user.viewed")).one()
    assert (entry.actor_id, entry.user_id, entry.details["reason"]) == (dana.id, alice.id, "She asked for help")
    mail = session.scalars(select(OutboxMail).where(OutboxMail.kind == "viewed")).one()
    assert (mail.recipient, mail.context["reason"]) == (alice.email, "She asked for help")


def test_every_change_is_refused_meanwhile_whatever_its_route(app: Flask, viewer: Browser, session: Session) -> None:
    before = actions(session)
    walked = 0
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or ()) and not rule.arguments and not rule.rule.startswith("/api/"):
            walked += 1
            if rule.endpoint != "view_as.end":
                assert (rule.rule, viewer.post(rule.rule).status_code) == (rule.rule, 403)
    assert walked >= 12
    assert actions(session) == before


def test_the_admin_area_and_private_pages_are_closed_during_impersonation(viewer: Browser) -> None:
    paths = ("/admin/", "/admin/users", "/profile/two-factor", "/profile/two-factor/setup")
    assert [viewer.get(path).status_code for path in paths] == [403] * 4


def test_impersonation_ends_after_fifteen_minutes(viewer: Browser, time: Clock) -> None:
    time.advance(minutes=14)
    assert "Hello, alice" in viewer.get("/dashboard").text
    time.advance(minutes=2)
    assert "Hello, dana" in viewer.get("/dashboard").text
    assert viewer.get("/admin/users").status_code == 200


def test_ending_impersonation_leads_back_to_the_user(viewer: Browser, alice: User) -> None:
    assert viewer.post("/view-as/end").location == f"/admin/users/{alice.id}"
    assert "Hello, dana" in viewer.get("/dashboard").text
    assert viewer.post("/view-as/end").location == "/dashboard"


def test_impersonation_can_be_ended_during_maintenance(as_dana: Browser, alice: User) -> None:
    assert save(as_dana, "maintenance.on", "true") == 303
    as_dana.post(f"/admin/users/{alice.id}/view-as", reason="She asked for help")
    assert as_dana.post("/view-as/end").location == f"/admin/users/{alice.id}"
    assert save(as_dana, "maintenance.on", "false") == 303


def test_impersonation_ends_with_the_admin_role(viewer: Browser, dana: User, session: Session) -> None:
    make_user(session, "erin", is_superuser=True)
    roles.set_superuser(session, dana.id, superuser=False, actor=PLATFORM)
    session.commit()
    page = viewer.get("/dashboard")
    assert "Hello, alice" not in page.text


def test_impersonation_ends_when_the_user_becomes_an_admin(viewer: Browser, alice: User, session: Session) -> None:
    roles.set_superuser(session, alice.id, superuser=True, actor=PLATFORM)
    session.commit()
    assert "Hello, dana" in viewer.get("/dashboard").text


def test_another_admin_cannot_be_viewed_and_a_reason_is_needed(as_dana: Browser, alice: User, session: Session) -> None:
    erin = make_user(session, "erin", is_superuser=True)
    session.commit()
    refused = as_dana.post(f"/admin/users/{erin.id}/view-as", reason="Curious")
    assert refused.status_code == 400
    assert "This user cannot be impersonated." in refused.text
    assert as_dana.post(f"/admin/users/{alice.id}/view-as", reason="").status_code == 400
    assert "Hello, dana" in as_dana.get("/dashboard").text


def test_a_user_cannot_view_anybody(as_alice: Browser, bob: User) -> None:
    assert as_alice.post(f"/admin/users/{bob.id}/view-as", reason="Curious").status_code == 403


def test_the_users_own_logins_are_not_touched(viewer: Browser, as_alice: Browser) -> None:
    assert "view-as" not in as_alice.get("/dashboard").text
    assert as_alice.post("/logout").status_code == 303
