"""One's own account through the API."""

from decimal import Decimal

import pytest
from redis import Redis
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.services.accounts import users
from models.services.actor import PLATFORM
from models.users import User
from tests.conftest import PASSWORD
from tests.factories import actions, buy
from tests.portal.api.conftest import Program, told


def test_me_is_the_calling_user(alices: Program, alice: User) -> None:
    assert told(alices.get("/users/me"), 200)["id"] == str(alice.id)


def test_a_name_is_set_kept_and_cleared(alices: Program, session: Session, alice: User) -> None:
    assert told(alices.patch("/users/me", {"full_name": " Alice A. "}), 200)["full_name"] == "Alice A."
    assert told(alices.patch("/users/me", {}), 200)["full_name"] == "Alice A."
    assert told(alices.patch("/users/me", {"full_name": None}), 200)["full_name"] is None
    assert actions(session, alice).count(AuditAction.USER_CHANGED) == 2


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"password": "another password"}, ["body"]),
        ({"password": "another password", "current_password": "not it"}, ["body", "current_password"]),
        ({"password": "short", "current_password": PASSWORD}, ["body", "password"]),
        ({"full_name": "x" * 101}, ["body", "full_name"]),
    ],
)
def test_an_invalid_change_is_422_and_changes_nothing(
    alices: Program, change: dict[str, str], where: list[str], alice: User, session: Session
) -> None:
    before = alice.password_hash
    assert told(alices.patch("/users/me", change), 422)["detail"][0]["loc"] == where
    session.refresh(alice)
    assert (alice.password_hash, alice.full_name) == (before, None)


def test_guesses_at_the_password_are_counted_as_failed_logins(alices: Program, redis: Redis) -> None:
    guess = {"password": "another password", "current_password": "a guess"}
    for _ in range(5):
        told(alices.patch("/users/me", guess), 422)
    told(alices.patch("/users/me", {**guess, "current_password": PASSWORD}), 429)


def test_referrals_contain_no_e_mail_address(
    alices: Program, alice: User, session: Session, settings: Settings
) -> None:
    guest = users.register(
        session,
        email="guest@example.test",
        username="guest",
        password=PASSWORD,
        actor=PLATFORM,
        referral_code=alice.referral_code,
    )
    session.commit()
    figures = told(alices.get("/users/me/referrals"), 200)
    assert (figures["total_referrals"], figures["qualifying_referrals"], figures["total_bonus_earned"]) == (
        1,
        0,
        "0.00",
    )
    assert figures["referral_link"] == f"{settings.portal.address}/register?ref={alice.referral_code}"
    assert [each["username"] for each in figures["referred_users"]] == ["guest"]
    assert figures["referred_users"][0]["bonus"] is None
    assert guest.email not in str(figures)


def test_a_qualifying_purchase_shows_its_bonus(
    alices: Program, alice: User, session: Session, bob: User, settings: Settings
) -> None:
    bob.referrer_id = alice.id
    session.flush()
    buy(session, bob, settings, hours=168)
    session.commit()
    figures = told(alices.get("/users/me/referrals"), 200)
    assert figures["qualifying_referrals"] == 1
    assert Decimal(figures["referred_users"][0]["bonus"]) == 10


def test_the_api_shows_and_changes_the_zone(alices: Program) -> None:
    assert told(alices.get("/users/me"), 200)["time_zone"] is None
    assert told(alices.patch("/users/me", {"time_zone": "Europe/Moscow"}), 200)["time_zone"] == "Europe/Moscow"
    assert told(alices.patch("/users/me", {"full_name": "Alice"}), 200)["time_zone"] == "Europe/Moscow"
    told(alices.patch("/users/me", {"time_zone": "Europe/Nowhere"}), 422)
