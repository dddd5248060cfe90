"""Inspections in the admin area: start, list, end; for admins only (tests/portal/test_routes.py)."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.inspections import Inspection, InspectionTarget
from models.users import User
from tests.factories import actions, buy
from tests.portal.conftest import Browser

PAGE = "/admin/inspections"


def test_an_admin_starts_and_ends_an_inspection_of_a_token(
    session: Session, alice: User, settings: Settings, as_dana: Browser
) -> None:
    token = buy(session, alice, settings)
    session.commit()
    asked = as_dana.get(f"{PAGE}?target=token&name={token.prefix}")
    assert f'value="{token.prefix}"' in asked.text
    assert f"target=token&amp;name={token.prefix}" in as_dana.get("/admin/tokens").text
    assert "target=user&amp;name=alice" in as_dana.get(f"/admin/users/{alice.id}").text
    sent = {"target": "token", "name": token.prefix, "minutes": "30", "reason": "<b>ticket</b> 17"}
    answer = as_dana.post(PAGE, **sent)
    assert (answer.status_code, answer.location) == (303, PAGE)
    found = session.scalars(select(Inspection)).one()
    assert (found.target, found.token_id, found.reason) == (InspectionTarget.TOKEN, token.id, "<b>ticket</b> 17")
    first = as_dana.get("/admin/").text.partition('data-testid="inspection"')[2].partition("</p>")[0]
    assert [word for word in ("Inspection active", f"{token.prefix}…", alice.email, "until") if word not in first] == []
    page = as_dana.get(f"{PAGE}?running=1").text
    assert "&lt;b&gt;ticket&lt;/b&gt; 17" in page
    assert str(alice.email) in page
    assert as_dana.post(f"{PAGE}/{found.id}/end").status_code == 303
    assert "Inspection active" not in as_dana.get("/admin/").text
    assert "No active inspections" in as_dana.get(f"{PAGE}?running=1").text
    wanted = {AuditAction.INSPECTION_STARTED, AuditAction.INSPECTION_ENDED}
    assert wanted <= set(actions(session, alice))
    line = as_dana.get(f"{PAGE}?format=csv").text.splitlines()[1]
    shown = token.prefix if token.prefix[0] != "-" else f"'{token.prefix}"  # no formula for a spreadsheet
    assert f",token,,{shown},{alice.email},<b>ticket</b> 17," in f",{line.partition(',')[2]}"


def test_an_error_is_shown_at_its_field(as_dana: Browser) -> None:
    answer = as_dana.post(PAGE, target="user", name="nobody", minutes="15", reason="ticket 17")
    assert answer.status_code == 400
    assert "User not found." in answer.text
    # Longer than the settings allow is not offered, and not taken either.
    answer = as_dana.post(PAGE, target="everything", name="", minutes="1440", reason="ticket 17")
    assert answer.status_code == 400
    assert as_dana.post(PAGE, target="planets").status_code == 400
