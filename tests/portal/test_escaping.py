"""Whatever is typed into a field is shown as text."""

import uuid
from decimal import Decimal

import pytest
from sqlalchemy.orm import Session

from models.config import Settings
from models.services import adjustments, sessions
from models.services.context import Actor
from models.users import User
from tests.conftest import PASSWORD
from tests.portal.conftest import Browser
from tests.support import buy

EVIL = "<script>alert(1)</script>"
QUOTED = "\" autofocus onfocus='alert(1)' x=\""


@pytest.mark.parametrize("evil", [EVIL, QUOTED])
def test_names_devices_browsers_and_reasons_are_shown_as_text(
    *, as_alice: Browser, as_dana: Browser, alice: User, session: Session, settings: Settings, evil: str
) -> None:
    alice.full_name = evil
    token = buy(session, alice, settings, name=evil)
    who = Actor(alice.id, "::1", evil)
    sessions.begin(session, token.id, device=evil, rules=settings.sessions, actor=who)
    adjustments.adjust(session, alice, amount=Decimal(1), reason=evil, actor=who)
    session.commit()
    for browser, path in (
        (as_alice, "/tokens"),
        (as_alice, f"/tokens/{token.id}"),
        (as_alice, f"/tokens/{token.id}/revoke"),
        (as_alice, "/wallet"),
        (as_alice, "/profile"),
        (as_dana, f"/admin/users/{alice.id}"),
        (as_dana, "/admin/tokens"),
        (as_dana, "/admin/sessions"),
        (as_dana, "/admin/audit"),
    ):
        text = browser.get(path).text
        assert evil not in text, path
        assert "alert(1)" in text, path


@pytest.mark.parametrize("evil", [EVIL, QUOTED])
def test_what_comes_back_into_a_form_or_an_error_is_shown_as_text(
    *, anonymous: Browser, as_alice: Browser, as_dana: Browser, alice: User, session: Session, evil: str
) -> None:
    session.commit()
    answers = [
        anonymous.post("/register", email=evil, username=evil, password=PASSWORD),
        anonymous.post("/login", email=evil, password="x"),
        anonymous.get("/login", query_string={"next": evil}),
        anonymous.get(f"/{evil}"),
        as_alice.post("/wallet/top-up", amount=evil, next=evil, provider=evil),
        as_alice.post("/tokens/buy", duration_hours="1", scope=evil, name=evil, token_id=str(uuid.uuid4())),
        as_alice.get("/tokens/buy", query_string={"name": evil, "scope": evil}),
        as_alice.get("/wallet", query_string={"amount": evil, "next": evil, "type": evil}),
        as_dana.get("/admin/users", query_string={"q": evil}),
        as_dana.get("/admin/tokens", query_string={"q": evil}),
        as_dana.post(f"/admin/users/{alice.id}/adjust", amount=evil, reason=evil, key=evil),
    ]
    for answer in answers:
        assert evil not in answer.text, answer.request.path
        assert answer.status_code < 500
