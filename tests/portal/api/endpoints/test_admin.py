"""Admin endpoints of the JSON API."""

import uuid
from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import Transfer, TransferKind
from models.outbox import OutboxMail
from models.users import User
from tests.factories import actions, balance, buy
from tests.portal.api.conftest import Program, told


def test_users_are_searched_filtered_and_shown_with_their_balance(
    danas: Program, session: Session, alice: User, bob: User
) -> None:
    bob.is_active = False
    session.commit()
    page = told(danas.get("/admin/users"), 200)
    assert (page["total"], page["limit"]) == (3, 50)
    [found] = told(danas.get("/admin/users", search="ALICE@"), 200)["items"]
    assert (found["username"], found["currency_balance"]) == ("alice", "100.00")
    assert "password" not in str(found)
    assert {each["username"] for each in told(danas.get("/admin/users", is_active="true"), 200)["items"]} == {
        "alice",
        "dana",
    }
    told(danas.get("/admin/users", search="a\0"), 400)


def test_a_balance_is_set_by_an_adjustment_with_a_reason(danas: Program, session: Session, alice: User) -> None:
    session.commit()
    path = f"/admin/users/{alice.id}"
    told(danas.patch(path, {"currency_balance": "150"}), 422)
    for target in ("150.00", "30.00", "30.00", "0"):
        changed = told(danas.patch(path, {"currency_balance": target, "reason": "Goodwill"}), 200)
        assert float(changed["currency_balance"]) == float(target)
    booked = session.scalars(
        select(Transfer).where(Transfer.kind == TransferKind.ADJUSTMENT).order_by(Transfer.created_at)
    )
    assert [str(each.amount) for each in booked][1:] == ["50.00", "120.00", "30.00"]
    assert actions(session, alice).count(AuditAction.BALANCE_ADJUSTED) == 4
    assert balance(session, alice) == 0


@pytest.mark.parametrize("target", ["-1", "NaN", "1e30", "1e2", "12_0", "٣", "0.001", "1,5", 10**13])
def test_an_invalid_balance_is_422(danas: Program, session: Session, alice: User, target: object) -> None:
    session.commit()
    told(danas.patch(f"/admin/users/{alice.id}", {"currency_balance": target, "reason": "Goodwill"}), 422)
    assert balance(session, alice) == 100


def test_a_user_is_disabled_promoted_and_demoted(
    danas: Program, program: Callable[[User], Program], session: Session, alice: User
) -> None:
    alices = program(alice)
    path = f"/admin/users/{alice.id}"
    told(alices.get("/admin/users"), 403)
    assert told(danas.patch(path, {"is_superuser": True}), 200)["is_superuser"] is True
    told(alices.get("/admin/users"), 200)
    told(danas.patch(path, {"is_superuser": False}), 200)
    told(alices.get("/admin/users"), 403)
    assert told(danas.patch(path, {"is_active": False}), 200)["is_active"] is False
    told(alices.get("/users/me"), 403)
    assert {AuditAction.USER_PROMOTED, AuditAction.USER_DEMOTED, AuditAction.USER_DISABLED} <= {
        *actions(session, alice)
    }


@pytest.mark.parametrize(
    "change", [{"is_superuser": False}, {"is_active": False}, {"is_superuser": False, "is_active": False}]
)
def test_the_last_superuser_cannot_be_removed(
    danas: Program, dana: User, session: Session, change: dict[str, bool]
) -> None:
    assert told(danas.patch(f"/admin/users/{dana.id}", change), 409)["detail"] == "The last admin cannot be removed."
    session.refresh(dana)
    assert (dana.is_active, dana.is_superuser) == (True, True)


def test_tokens_of_all_or_of_one_are_listed_with_masked_secrets(
    danas: Program, session: Session, alice: User, bob: User, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    buy(session, bob, settings)
    session.commit()
    assert told(danas.get("/admin/tokens"), 200)["total"] == 2
    [found] = told(danas.get("/admin/tokens", user_id=str(alice.id), active_only="true"), 200)["items"]
    assert (found["id"], found["token"]) == (str(token.id), f"{token.prefix}…")
    told(danas.get("/admin/tokens", user_id="alice"), 422)


def test_an_admins_revocation_refunds_nothing_and_notifies_the_owner(
    danas: Program, session: Session, alice: User, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    session.commit()
    assert told(danas.delete(f"/admin/tokens/{token.id}", reason="Shared in a forum"), 200) == {
        "revoked": True,
        "token_id": str(token.id),
        "message": "The token is revoked. Nothing was paid back.",
    }
    assert balance(session, alice) == 82
    told(danas.delete(f"/admin/tokens/{token.id}"), 404)
    told(danas.delete(f"/admin/tokens/{uuid.uuid4()}"), 404)
    assert "Shared in a forum" in str(session.scalars(select(OutboxMail.context)).all())


def test_the_audit_log_is_filtered_by_user_action_and_resource_type(
    danas: Program, alices: Program, session: Session, alice: User, settings: Settings
) -> None:
    told(alices.post("/tokens/purchase", {"duration_hours": 1, "scope": "full"}), 201)
    [entry] = told(danas.get("/admin/audit-logs", action="token.purchased"), 200)["items"]
    assert (entry["actor_id"], entry["resource_type"], entry["details"]["price"]) == (str(alice.id), "token", "1")
    assert (entry["ip_address"], entry["user_agent"][:8]) == ("127.0.0.1", "Werkzeug")
    assert (entry["origin"], bool(entry["request_id"])) == ("api", True)
    kinds = told(danas.get("/admin/audit-logs", resource_type="token"), 200)
    assert {each["resource_type"] for each in kinds["items"]} == {"token"}
    of_alice = told(danas.get("/admin/audit-logs", user_id=str(alice.id), limit=2), 200)
    assert len(of_alice["items"]) == 2 < of_alice["total"]
    told(danas.get("/admin/audit-logs", action="nothing"), 422)
