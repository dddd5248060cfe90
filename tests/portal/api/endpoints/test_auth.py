"""API endpoints for registration and login, and everything that ends a login."""

import base64
import json
import uuid
from collections.abc import Callable
from datetime import timedelta

import jwt
import pytest
from redis import Redis
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.logins import Login, LoginKind
from models.services.accounts import logins, roles
from models.services.actor import Actor
from models.users import User
from portal.api import login_tokens
from tests.conftest import PASSWORD, Clock
from tests.factories import actions
from tests.portal.api.conftest import Program, told
from tests.portal.conftest import Browser

NEW = {"email": "eve@example.test", "username": "eve", "password": "a long password"}


def bearer(app_program: Program, token: str) -> Program:
    return Program(app_program.client, Authorization=f"Bearer {token}")


def test_registration_returns_the_user_without_the_password(nobody: Program, session: Session) -> None:
    made = told(nobody.post("/auth/register", {**NEW, "full_name": "Eve Example"}), 201)
    assert set(made) == {
        "id",
        "email",
        "username",
        "full_name",
        "is_active",
        "is_superuser",
        "referral_code",
        "created_at",
        "updated_at",
        "time_zone",
    }
    assert (made["email"], made["full_name"], made["is_superuser"]) == ("eve@example.test", "Eve Example", False)
    assert made["created_at"].endswith("Z")
    assert len(made["referral_code"]) == 12


def test_users_registered_through_the_api_receive_e_mails_in_their_language(nobody: Program, session: Session) -> None:
    nobody.headers["Accept-Language"] = "ru-RU,ru;q=0.9"
    made = told(nobody.post("/auth/register", NEW), 201)
    assert session.get_one(User, uuid.UUID(made["id"])).language == "ru"


def test_a_referral_code_sets_the_referrer_and_an_unknown_one_is_400(
    nobody: Program, session: Session, alice: User
) -> None:
    session.commit()
    made = told(nobody.client.post(f"/api/v1/auth/register?ref={alice.referral_code}", json=NEW), 201)
    row = session.scalars(select(User).where(User.email == made["email"])).one()
    assert row.referrer_id == alice.id
    other = {**NEW, "email": "f@example.test", "username": "fay"}
    answer = nobody.client.post("/api/v1/auth/register?ref=NOBODY", json=other)
    assert told(answer, 400)["detail"] == "Referral code not found."


def test_a_taken_address_or_name_is_400_in_english(nobody: Program, session: Session, alice: User) -> None:
    session.commit()
    taken = {**NEW, "email": "ALICE@example.test"}
    nobody.headers["Accept-Language"] = "ru"
    assert told(nobody.post("/auth/register", taken), 400)["detail"] == "This e-mail address already has an account."
    assert (
        told(nobody.post("/auth/register", {**NEW, "username": "Alice"}), 400)["detail"]
        == "This username is already taken."
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"),
        ("email", "a\0b@example.test"),
        ("email", None),
        ("username", "ab"),
        ("username", "x" * 51),
        ("username", "<b>"),
        ("password", "short"),
        ("password", "x" * 129),
        ("full_name", "x" * 101),
        ("full_name", "two\nlines"),
    ],
)
def test_an_invalid_field_is_422_with_its_location(nobody: Program, field: str, value: str | None) -> None:
    [fault] = told(nobody.post("/auth/register", {**NEW, field: value}), 422)["detail"]
    assert fault["loc"] == ["body", field]
    assert fault["msg"]
    assert fault["type"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"email": {"a": [1]}}', b'{"email": "\\ud800"}']
)
def test_a_body_that_is_not_an_object_is_422(nobody: Program, body: bytes) -> None:
    answer = nobody.client.post("/api/v1/auth/login", data=body, content_type="application/json")
    assert told(answer, 422)["detail"][0]["loc"][0] == "body"


def test_a_login_is_a_jwt_as_the_contract_says(
    nobody: Program, session: Session, alice: User, settings: Settings
) -> None:
    session.commit()
    answer = told(nobody.post("/auth/login", {"email": "Alice@example.test", "password": PASSWORD}), 200)
    assert (answer["token_type"], answer["expires_in"], set(answer)) == (
        "bearer",
        3600,
        {"access_token", "token_type", "expires_in"},
    )
    head, body, _signature = answer["access_token"].split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "=="))["alg"] == "HS256"
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    assert set(claims) == {"sub", "username", "iat", "exp", "jti"}
    assert (claims["sub"], claims["username"], claims["exp"] - claims["iat"]) == (str(alice.id), "alice", 3600)
    assert session.get_one(Login, claims["jti"]).kind is LoginKind.API
    assert told(bearer(nobody, answer["access_token"]).get("/users/me"), 200)["username"] == "alice"
    assert AuditAction.USER_LOGGED_IN in actions(session, alice)


def test_a_wrong_password_and_an_unknown_address_get_the_same_401(
    nobody: Program, session: Session, alice: User
) -> None:
    session.commit()
    said = []
    for email in ("alice@example.test", "nobody@example.test"):
        answer = nobody.post("/auth/login", {"email": email, "password": "a wrong one"})
        said.append(told(answer, 401)["detail"])
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert said[0] == said[1]
    assert actions(session, alice).count(AuditAction.USER_LOGIN_FAILED) == 1


def test_a_disabled_user_cannot_log_in_and_their_tokens_are_403(
    nobody: Program, alices: Program, session: Session, alice: User, dana: User
) -> None:
    roles.set_active(session, alice.id, active=False, actor=Actor(dana.id))
    session.commit()
    assert told(alices.get("/users/me"), 403)["detail"] == "Inactive user"
    told(nobody.post("/auth/login", {"email": alice.email, "password": PASSWORD}), 403)


def test_a_token_ends_with_its_time(alices: Program, time: Clock) -> None:
    told(alices.get("/users/me"), 200)
    time.advance(minutes=59)
    told(alices.get("/users/me"), 200)
    time.advance(minutes=1)
    told(alices.get("/users/me"), 401)


def test_a_token_ends_with_its_login_in_the_portal(
    alices: Program, as_alice: Browser, alice: User, session: Session
) -> None:
    told(alices.get("/users/me"), 200)
    login = session.scalars(select(Login).where(Login.kind == LoginKind.API)).one()
    logins.end(session, alice, login.id, actor=Actor(alice.id))
    session.commit()
    told(alices.get("/users/me"), 401)


def test_a_new_password_ends_every_other_login_and_keeps_this_one(
    program: Callable[[User], Program], alice: User, as_alice: Browser
) -> None:
    mine, other = program(alice), program(alice)
    change = {"password": "another password", "current_password": PASSWORD}
    told(mine.patch("/users/me", change), 200)
    told(mine.get("/users/me"), 200)
    told(other.get("/users/me"), 401)
    assert as_alice.get("/dashboard").status_code == 302


def test_a_forged_token_gives_no_access(nobody: Program, alices: Program, alice: User, settings: Settings) -> None:
    ours = alices.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(ours, options={"verify_signature": False})
    key = login_tokens._key(settings.portal)
    forged = [
        jwt.encode(claims, "x" * 32, "HS256"),
        jwt.encode(claims, None, "none"),
        jwt.encode(claims, key * 2, "HS512"),
        jwt.encode({**claims, "jti": str(alice.id)}, key, "HS256"),
        jwt.encode({**claims, "jti": 5}, key, "HS256"),
        jwt.encode({**claims, "exp": "x"}, key, "HS256"),
        jwt.encode({name: claims[name] for name in ("sub", "jti", "iat", "username")}, key, "HS256"),
        jwt.encode(claims, settings.portal.secret_key.get_secret_value(), "HS256"),
        ours[:-4] + "AAAA",
    ]
    for token in forged:
        told(bearer(nobody, token).get("/users/me"), 401)


def test_five_failures_an_hour_are_allowed_and_registrations_are_counted_separately(
    nobody: Program, session: Session, alice: User, redis: Redis
) -> None:
    session.commit()
    wrong = {"email": alice.email, "password": "a wrong one"}
    told(nobody.post("/auth/register", NEW), 201)
    for left in (4, 3, 2, 1, 0):
        answer = nobody.post("/auth/login", wrong)
        told(answer, 401)
        assert answer.headers["RateLimit-Remaining"] == str(left)
    answer = nobody.post("/auth/login", {**wrong, "password": PASSWORD})
    told(answer, 429)
    assert answer.headers["RateLimit-Limit"] == "5"
    assert 50 < int(answer.headers["Retry-After"]) <= 60
    told(nobody.post("/auth/register", {**NEW, "email": "f@example.test", "username": "fay"}), 201)


def test_probing_addresses_by_registration_is_limited(nobody: Program, session: Session, alice: User) -> None:
    session.commit()
    for _ in range(5):
        told(nobody.post("/auth/register", {**NEW, "email": alice.email}), 400)
    told(nobody.post("/auth/register", NEW), 429)


def test_a_successful_login_is_not_counted(nobody: Program, session: Session, alice: User, redis: Redis) -> None:
    session.commit()
    for _ in range(7):
        answer = nobody.post("/auth/login", {"email": alice.email, "password": PASSWORD})
        told(answer, 200)
        assert answer.headers["RateLimit-Remaining"] == "5"


def test_lifetime_is_an_hour() -> None:
    assert timedelta(minutes=60) == login_tokens.LIFETIME


def test_an_easy_password_is_422_when_registering_and_when_changing_it(nobody: Program, alices: Program) -> None:
    for password in ("password", NEW["username"] * 3):
        [fault] = told(nobody.post("/auth/register", {**NEW, "password": password}), 422)["detail"]
        assert (fault["loc"], "easy to guess" in fault["msg"]) == (["body", "password"], True)
    for password in ("password", PASSWORD):
        change = {"password": password, "current_password": PASSWORD}
        [fault] = told(alices.patch("/users/me", change), 422)["detail"]
        assert fault["loc"] == ["body", "password"]
