"""Idempotency-Key: carried out once, answered alike, and never kept in the clear."""

import threading
import time as real_time
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.database import Sessions
from models.idempotency import IdempotentReply
from models.logins import LoginKind
from models.services import idempotency
from models.services.accounts import logins
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import IdempotentRequestInProgress
from models.users import User
from portal import create_app
from portal.api import login_tokens
from tests.conftest import Clock
from tests.factories import assert_sound, balance, person, race
from tests.portal.api.conftest import Program, told

BUY = {"duration_hours": 24, "scope": "full"}


def count(session: Session, table: type[Any]) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def test_the_same_key_gives_the_same_response_and_moves_money_once(
    alices: Program, session: Session, alice: User
) -> None:
    first = alices.post("/tokens/purchase", BUY, Idempotency_Key="order-1")
    again = alices.post("/tokens/purchase", {"scope": "full", "duration_hours": 24}, Idempotency_Key="order-1")
    assert told(first, 201) == told(again, 201)
    assert first.json is not None
    assert len(first.json["token"]) == 64
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert balance(session, alice) == 82
    assert told(alices.post("/tokens/purchase", BUY, Idempotency_Key="order-2"), 201) != first.json
    assert balance(session, alice) == 64


def test_a_reply_encrypted_with_a_former_key_is_409_and_nothing_moves_again(
    alices: Program, session: Session, alice: User
) -> None:
    told(alices.post("/tokens/purchase", BUY, Idempotency_Key="order-1"), 201)
    session.execute(update(IdempotentReply).values(body=b"\x01" + bytes(60)))
    session.commit()
    again = told(alices.post("/tokens/purchase", BUY, Idempotency_Key="order-1"), 409)
    assert again["code"] == "reply_unreadable"
    assert balance(session, alice) == 82


def test_another_request_with_the_key_is_422(alices: Program, session: Session, alice: User) -> None:
    told(alices.post("/tokens/purchase", BUY, Idempotency_Key="order-1"), 201)
    for path, body in (
        ("/tokens/purchase", {**BUY, "duration_hours": 1}),
        ("/currency/mock-purchase", {"amount": 5}),
    ):
        [fault] = told(alices.post(path, body, Idempotency_Key="order-1"), 422)["detail"]
        assert (fault["loc"], fault["type"]) == (["header", "Idempotency-Key"], "key_reused")
    assert balance(session, alice) == 82


def test_every_post_that_moves_money_takes_a_key(
    alices: Program, danas: Program, session: Session, alice: User
) -> None:
    payment = told(alices.post("/currency/purchase", {"amount_znc": 50}, Idempotency_Key="a"), 201)
    assert told(alices.post("/currency/purchase", {"amount_znc": 50}, Idempotency_Key="a"), 201) == payment
    path = f"/currency/admin/simulate-payment/{payment['payment_id']}"
    assert told(danas.post(path, Idempotency_Key="b"), 200) == told(danas.post(path, Idempotency_Key="b"), 200)
    for _ in range(2):
        told(alices.post("/currency/mock-purchase", {"amount": 5}, Idempotency_Key="c"), 201)
    assert balance(session, alice) == 155
    starter = next(each for each in told(alices.get("/bundles/"), 200)["items"] if each["name"] == "Starter")
    sales = [told(alices.post(f"/bundles/{starter['id']}/purchase", Idempotency_Key="d"), 200) for _ in range(2)]
    assert sales[0] == sales[1]
    assert balance(session, alice) == 74


def test_two_users_may_choose_the_same_key(alices: Program, charlies: Program) -> None:
    told(alices.post("/currency/mock-purchase", {"amount": 5}, Idempotency_Key="1"), 201)
    assert (
        told(charlies.post("/currency/mock-purchase", {"amount": 5}, Idempotency_Key="1"), 201)["new_balance"] == "5.00"
    )


def test_a_refused_request_can_be_repeated(alices: Program) -> None:
    dear = {"duration_hours": 168, "scope": "full"}
    told(alices.post("/tokens/purchase", BUY), 201)
    told(alices.post("/tokens/purchase", dear, Idempotency_Key="1"), 402)
    told(alices.post("/currency/mock-purchase", {"amount": 50}), 201)
    told(alices.post("/tokens/purchase", dear, Idempotency_Key="1"), 201)


def test_a_key_is_good_for_24_hours(session: Session, alice: User, settings: Settings, time: Clock) -> None:
    first = idempotency.claim(session, alice, "1", b"x", settings)
    assert not isinstance(first, idempotency.StoredReply)
    kept = idempotency.StoredReply(201, "{}")
    idempotency.store_reply(session, first, kept, settings)
    time.advance(hours=23, minutes=59)
    assert idempotency.claim(session, alice, "1", b"x", settings) == kept
    assert idempotency.delete_expired(session) == 0
    time.advance(minutes=1)
    assert not isinstance(idempotency.claim(session, alice, "1", b"another", settings), idempotency.StoredReply)
    time.advance(hours=24)
    assert idempotency.delete_expired(session) == 1


def test_a_stolen_database_holds_neither_key_nor_reply(alices: Program, session: Session) -> None:
    sold = told(alices.post("/tokens/purchase", BUY, Idempotency_Key="order-1"), 201)
    row = session.scalars(select(IdempotentReply)).one()
    stored = b"".join(bytes(getattr(row, name)) for name in ("key_hash", "request_hash", "body"))
    assert sold["token"].encode() not in stored
    assert b"order-1" not in stored


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_an_invalid_key_is_422(alices: Program, key: str, session: Session, alice: User) -> None:
    [fault] = told(alices.post("/tokens/purchase", BUY, Idempotency_Key=key), 422)["detail"]
    assert fault["loc"] == ["header", "Idempotency-Key"]
    assert balance(session, alice) == 100


def test_after_a_crash_neither_money_nor_key_is_gone(
    alices: Program, session: Session, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_arguments: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(idempotency, "store_reply", die)
        assert alices.post("/tokens/purchase", BUY, Idempotency_Key="1").status_code == 500
    assert (balance(session, alice), count(session, IdempotentReply), count(session, AccessToken)) == (100, 0, 0)
    told(alices.post("/tokens/purchase", BUY, Idempotency_Key="1"), 201)


def test_concurrent_requests_with_one_key_get_one_token_and_one_response(committed: tuple[Settings, Sessions]) -> None:
    settings, sessions = committed
    alice = person(sessions, "alice", balance="100")
    with sessions.begin() as session:
        login = logins.begin(session, alice, kind=LoginKind.API, lifetime=login_tokens.LIFETIME, actor=Actor(alice.id))
    app = create_app(settings)
    bearer = f"Bearer {login_tokens.issue(settings.portal, alice, login)}"

    def buy_it() -> Any:
        caller = Program(app.test_client(), Authorization=bearer)
        return told(caller.post("/tokens/purchase", BUY, Idempotency_Key="1"), 201)

    results = race(*[buy_it] * 4)
    assert [result for result in results if result != results[0]] == []
    assert len(results[0]["token"]) == 64
    with sessions.begin() as session:
        assert (balance(session, alice), count(session, AccessToken)) == (82, 1)
    assert_sound(sessions)


def test_a_concurrent_request_that_would_wait_too_long_is_409(committed: tuple[Settings, Sessions]) -> None:
    settings, sessions = committed
    alice = person(sessions, "alice")
    claimed = threading.Event()

    def hold() -> None:
        with sessions.begin() as session:
            idempotency.claim(session, alice, "1", b"x", settings)
            claimed.set()
            real_time.sleep(1.0)

    def come_second() -> None:
        claimed.wait(timeout=5)
        with sessions.begin() as session:
            session.connection().exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
            idempotency.claim(session, alice, "1", b"x", settings)

    assert isinstance(race(hold, come_second)[1], IdempotentRequestInProgress)


def test_the_audit_log_has_one_purchase(alices: Program, session: Session, alice: User) -> None:
    for _ in range(3):
        told(alices.post("/tokens/purchase", BUY, Idempotency_Key="1"), 201)
    page = audit_log.entries(session, limit=50, offset=0, user_id=alice.id, resource_type="token")
    assert page.total == 1
