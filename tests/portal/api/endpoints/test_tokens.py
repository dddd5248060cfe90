"""Buying, listing and revoking tokens through the API."""

import uuid
from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.services.actor import Actor
from models.services.crypto import secrets
from models.services.gateway import sessions
from models.services.tokens import revocation
from models.users import User
from tests.conftest import Clock
from tests.factories import balance, buy
from tests.portal.api.conftest import Program, told


def test_a_purchase_shows_the_secret_once(alices: Program, session: Session, alice: User, settings: Settings) -> None:
    sold = told(alices.post("/tokens/purchase", {"duration_hours": 24, "scope": "full", "name": "Workshop"}), 201)
    assert secrets.is_genuine(settings.tokens, sold["token"])
    assert {name: sold[name] for name in sold if name not in {"id", "token", "created_at"}} == {
        "name": "Workshop",
        "duration_hours": 24,
        "scope": "full",
        "cost_znc": "18.00",
        "activated_at": None,
        "expires_at": None,
        "is_active": True,
    }
    assert balance(session, alice) == 82
    [listed] = told(alices.get("/tokens/my-tokens"), 200)
    assert listed["token"] == f"{sold['token'][:8]}…"
    assert sold["token"] not in alices.get("/tokens/my-tokens").text


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({"duration_hours": 5, "scope": "full"}, 400, None),
        ({"duration_hours": 24, "scope": "everything"}, 400, None),
        ({"duration_hours": 720, "scope": "full"}, 402, None),
        ({"duration_hours": 0, "scope": "full"}, 422, "duration_hours"),
        ({"duration_hours": "a day", "scope": "full"}, 422, "duration_hours"),
        ({"duration_hours": 1e30, "scope": "full"}, 422, "duration_hours"),
        ({"scope": "full"}, 422, "duration_hours"),
        ({"duration_hours": 24, "scope": "full", "name": "x" * 51}, 422, "name"),
        ({"duration_hours": 24, "scope": "full", "name": "a\nb"}, 422, "name"),
        ({"duration_hours": 24, "scope": "full", "coupon": "NONE"}, 400, None),
    ],
)
def test_a_purchase_that_is_refused_costs_nothing(
    alices: Program, body: dict[str, object], status: int, where: str | None
) -> None:
    said = told(alices.post("/tokens/purchase", body), status)["detail"]
    assert (said[0]["loc"] if where else isinstance(said, str)) == (["body", where] if where else True)
    assert told(alices.get("/currency/balance"), 200)["balance"] == "100.00"


def test_a_purchase_with_an_open_debt_is_refused_with_its_code(alices: Program, session: Session, alice: User) -> None:
    answer = told(alices.post("/tokens/purchase", {"duration_hours": 720, "scope": "full"}), 402)
    assert answer["detail"] == "Insufficient balance: 300.00 ZNC required."


def test_only_tokens_that_have_not_ended_are_listed_unless_all_are_wanted(
    program: Callable[[User], Program], session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    kept, revoked, expired, running = (buy(session, alice, settings, hours=1) for _ in range(4))
    revocation.revoke(session, alice, revoked.id, settings=settings, actor=Actor(alice.id))
    sessions.start_session(session, expired.id, device=None, rules=settings.sessions, actor=Actor())
    time.advance(hours=2)
    sessions.start_session(session, running.id, device=None, rules=settings.sessions, actor=Actor())
    alices = program(alice)
    assert {each["id"] for each in told(alices.get("/tokens/my-tokens"), 200)} == {str(kept.id), str(running.id)}
    everything = told(alices.get("/tokens/my-tokens", active_only="false"), 200)
    assert len(everything) == 4
    assert {each["id"]: each["is_active"] for each in everything}[str(expired.id)] is False
    [one] = told(alices.get("/tokens/my-tokens", active_only="false", limit=1, offset=1), 200)
    assert one == everything[1]
    told(alices.get("/tokens/my-tokens", active_only="perhaps"), 422)


def test_times_are_iso_8601_in_utc(
    alices: Program, session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    token = buy(session, alice, settings, hours=1)
    sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=Actor())
    session.commit()
    [listed] = told(alices.get("/tokens/my-tokens"), 200)
    assert listed["activated_at"] == f"{time():%Y-%m-%dT%H:%M:%SZ}"
    time.advance(hours=1)
    assert listed["expires_at"] == f"{time():%Y-%m-%dT%H:%M:%SZ}"


def test_a_revocation_refunds_and_a_second_one_is_404(
    alices: Program, session: Session, alice: User, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    session.commit()
    assert told(alices.delete(f"/tokens/{token.id}"), 200) == {
        "revoked": True,
        "refund_amount": "18.00",
        "new_balance": "100.00",
        "message": "Token revoked. 18.00 ZNC refunded to your wallet.",
    }
    assert told(alices.delete(f"/tokens/{token.id}"), 404)["detail"] == "Token not found."
    told(alices.delete(f"/tokens/{uuid.uuid4()}"), 404)
    assert session.get_one(AccessToken, token.id, populate_existing=True).state(clock.now()) == "revoked"
