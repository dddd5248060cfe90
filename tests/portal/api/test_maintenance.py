"""Maintenance mode in the API: reads, changes by admins and payment callbacks keep working."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.services.actor import Actor
from models.services.settings import overrides
from models.users import User
from tests.conftest import PASSWORD
from tests.portal.api.conftest import Program, told
from tests.portal.conftest import Browser

BUY = {"duration_hours": 1, "scope": "full"}


@pytest.fixture
def closed(session: Session, settings: Settings, dana: User) -> None:
    """Switch maintenance mode on."""
    facts = {"reason": "a move", "seen": 0, "actor": Actor(dana.id)}
    overrides.change(session, settings, "maintenance.on", value="true", **facts)
    session.commit()


def test_users_can_read_but_not_change_anything(
    closed: None, program: Callable[[User], Program], nobody: Program, alice: User, dana: User
) -> None:
    alices = program(alice)
    answer = alices.post("/tokens/purchase", BUY)
    assert told(answer, 503)["detail"].startswith("The service is under maintenance.")
    assert int(answer.headers["Retry-After"]) > 0
    told(alices.get("/currency/balance"), 200)
    new = {"email": "eve@example.test", "username": "eve", "password": PASSWORD}
    told(nobody.post("/auth/register", new), 503)
    told(nobody.post("/auth/login", {"email": alice.email, "password": PASSWORD}), 200)
    told(nobody.post("/webhooks/payment", {}), 400)
    told(nobody.post("/tokens/purchase", BUY), 403)


def test_admins_can_change_things_and_an_admins_cookie_does_not_count(
    closed: None, program: Callable[[User], Program], as_dana: Browser, alice: User, dana: User
) -> None:
    told(program(dana).patch(f"/admin/users/{alice.id}", {"is_active": True}), 200)
    headers = program(alice).headers
    answer = as_dana.client.post("/api/v1/tokens/purchase", json=BUY, headers=headers)
    assert answer.status_code == 503
