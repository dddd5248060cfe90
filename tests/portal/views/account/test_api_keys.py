"""API keys: creation, one-time display, scopes and revocation."""

import re
import uuid

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.api_keys import ApiKey, KeyScope
from models.audit import AuditAction
from models.config.settings import Settings
from models.services.accounts import api_keys, roles
from models.services.actor import Actor
from models.services.errors import InvalidInput
from models.users import User
from tests.conftest import Clock
from tests.factories import actions
from tests.portal.api.conftest import Program, told
from tests.portal.conftest import Browser


def order() -> dict[str, str]:
    """Return the fields of a new form for a key."""
    return {"name": "Script", "scope": "read", "days": "90", "key_id": str(uuid.uuid4())}


def made(browser: Browser, **fields: str) -> str:
    """Create a key on the page and return its secret."""
    page = browser.post("/profile/keys", **{**order(), **fields})
    assert page.status_code == 200
    found = re.search(r"zk_[\w-]+(?=</code>)", page.text)
    return found[0] if found else ""


def key_of(session: Session, user: User, settings: Settings, scope: KeyScope, days: int | None = None) -> str:
    facts = {"name": "Script", "scope": scope, "days": days, "settings": settings, "actor": Actor(user.id)}
    secret = api_keys.create(session, user, **facts)[1]  # type: ignore[arg-type]
    session.commit()
    return secret


def with_key(app: Flask, secret: str) -> Program:
    return Program(app.test_client(), **{"X-API-Key": secret})


def test_a_key_is_shown_once_and_kept_as_a_hash(as_alice: Browser, alice: User, session: Session) -> None:
    secret = made(as_alice)
    assert re.fullmatch(r"zk_[\w-]{64}", secret)
    page = as_alice.get("/profile/keys")
    assert secret not in page.text
    assert secret[:11] in page.text
    row = session.scalars(select(ApiKey)).one()
    assert secret.removeprefix("zk_").encode() not in row.secret_hash
    assert AuditAction.API_KEY_MADE in actions(session, alice)


def test_a_key_works_in_both_headers_and_its_last_use_is_shown(
    app: Flask, as_alice: Browser, time: Clock, session: Session
) -> None:
    secret = made(as_alice)
    assert "never" in as_alice.get("/profile/keys").text
    for headers in ({"Authorization": f"Bearer {secret}"}, {"X-API-Key": secret}):
        assert told(Program(app.test_client(), **headers).get("/users/me"), 200)["username"] == "alice"
    assert "never" not in as_alice.get("/profile/keys").text
    assert session.scalars(select(ApiKey.last_used_at)).one() == time()


def test_access_of_each_scope(app: Flask, session: Session, alice: User, dana: User, settings: Settings) -> None:
    buy = {"duration_hours": 1, "scope": "full"}
    for user, scope, read, spend, admin_area in (
        (alice, KeyScope.READ, 200, 403, 403),
        (alice, KeyScope.BUY, 200, 402, 403),
        (dana, KeyScope.READ, 200, 403, 403),
        (dana, KeyScope.BUY, 200, 402, 403),
        (dana, KeyScope.ADMIN, 200, 402, 200),
    ):
        caller = with_key(app, key_of(session, user, settings, scope))
        spent = caller.post("/tokens/purchase", {**buy, "duration_hours": 720}).status_code
        found = (caller.get("/currency/balance").status_code, spent, caller.get("/admin/users").status_code)
        assert (user.username, scope, *found) == (user.username, scope, read, spend, admin_area)
        told(caller.patch("/users/me", {"full_name": "X"}), 403)


def test_a_former_admins_key_has_no_admin_access(
    app: Flask, session: Session, alice: User, dana: User, settings: Settings
) -> None:
    roles.set_superuser(session, alice.id, superuser=True, actor=Actor(dana.id))
    caller = with_key(app, key_of(session, alice, settings, KeyScope.ADMIN))
    told(caller.get("/admin/users"), 200)
    roles.set_superuser(session, alice.id, superuser=False, actor=Actor(dana.id))
    session.commit()
    told(caller.get("/admin/users"), 403)


def test_expired_and_invalid_keys_give_no_access(
    app: Flask, as_alice: Browser, session: Session, time: Clock, settings: Settings
) -> None:
    secret = made(as_alice, days="30")
    caller = with_key(app, secret)
    told(caller.get("/users/me"), 200)
    time.advance(days=30)
    assert told(caller.get("/users/me"), 401)["detail"] == "Could not validate credentials"
    for shown in ("zk_" + "A" * 64, secret[:-1], secret.removeprefix("zk_"), "zk_", "ы"):
        caller.headers = {"X-API-Key": shown}
        told(caller.get("/users/me"), 401)


def test_revoking_a_key_works_at_once_and_another_users_key_is_404(
    app: Flask, as_alice: Browser, as_charlie: Browser, session: Session, alice: User
) -> None:
    caller = with_key(app, made(as_alice))
    path = f"/profile/keys/{session.scalars(select(ApiKey.id)).one()}/end"
    assert as_charlie.post(path).status_code == 404
    told(caller.get("/users/me"), 200)
    for _ in range(2):
        assert as_alice.post(path).status_code == 303
    told(caller.get("/users/me"), 401)
    assert actions(session, alice).count(AuditAction.API_KEY_ENDED) == 1


def test_a_disabled_users_key_is_403(app: Flask, session: Session, alice: User, dana: User, settings: Settings) -> None:
    caller = with_key(app, key_of(session, alice, settings, KeyScope.BUY))
    roles.set_active(session, alice.id, active=False, actor=Actor(dana.id))
    session.commit()
    assert told(caller.get("/users/me"), 403)["detail"] == "Inactive user"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 51},
        {"scope": "admin"},
        {"scope": "all"},
        {"key_id": ""},
        {"days": "5000"},
        {"days": "x"},
    ],
)
def test_a_form_with_invalid_fields_creates_no_key(as_alice: Browser, fields: dict[str, str], session: Session) -> None:
    answer = as_alice.post("/profile/keys", **{**order(), **fields})
    assert answer.status_code == 400
    assert session.scalars(select(ApiKey)).all() == []


def test_a_user_has_at_most_twenty_keys(session: Session, alice: User, settings: Settings) -> None:
    for _ in range(api_keys.AT_MOST):
        key_of(session, alice, settings, KeyScope.READ)
    with pytest.raises(InvalidInput):
        key_of(session, alice, settings, KeyScope.READ)
    with pytest.raises(InvalidInput):
        api_keys.create(
            session, alice, name="x", scope=KeyScope.ADMIN, days=None, settings=settings, actor=Actor(alice.id)
        )


def test_a_form_sent_again_creates_no_second_key(as_alice: Browser, session: Session) -> None:
    """A reload sends the form again; every form that creates a secret acts once."""
    page = as_alice.get("/profile/keys").text
    key_id = re.search(r'name="key_id"[^>]*value="([^"]+)"', page)
    assert key_id is not None
    assert made(as_alice, key_id=key_id[1])
    again = as_alice.post("/profile/keys", **{**order(), "key_id": key_id[1]})
    assert (again.status_code, again.location) == (303, "/profile/keys")
    assert "shown once" in as_alice.flashes()
    assert session.scalars(select(ApiKey.id)).all() == [uuid.UUID(key_id[1])]


def test_revocation_of_a_key_is_confirmed_without_javascript(
    as_alice: Browser, as_charlie: Browser, session: Session
) -> None:
    made(as_alice)
    path = f"/profile/keys/{session.scalars(select(ApiKey.id)).one()}/end"
    assert f'href="{path}"' in as_alice.get("/profile/keys").text
    question = as_alice.get(path)
    assert "This cannot be undone." in question.text
    assert f'action="{path}"' in question.text
    assert session.scalars(select(ApiKey.ended_at)).one() is None
    assert as_charlie.get(path).status_code == 404
