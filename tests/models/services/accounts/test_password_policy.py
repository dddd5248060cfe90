"""Guessable passwords are refused wherever a password is set (NIST SP 800-63B-4, 3.1.1.2)."""

import time
from contextlib import suppress

import pytest
from sqlalchemy.orm import Session

from models.services.accounts import password_policy, passwords, users
from models.services.actor import Actor
from models.services.errors import InvalidInput
from models.users import User
from tests.conftest import PASSWORD

EASY = "password_guessable"


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "Password1!",
        "p4ssw0rd",
        "12345678",
        "qwertyuiop",
        "aaaaaaaa",
        "abcdefgh",
        "12121212",
        "iloveyou1",
        "Zenzefi123",
        # Typed on a Russian keyboard: "qwertyui", and the Russian for "password" with digits.
        "йцукенгш",
        "пароль123",  # noqa: RUF001 - Cyrillic letters are the point
    ],
)
def test_a_guessable_password_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match=EASY):
        password_policy.check(password)


@pytest.mark.parametrize(
    "password",
    ["alice.cooper", "Alice.Cooper1", "ALICE@wonderland.test", "wonderland.test", "Александра", " alice.cooper "],
)
def test_neither_the_name_nor_the_address_is_a_password(password: str) -> None:
    own = ("alice@wonderland.test", "alice.cooper", "Александра Купер")
    with pytest.raises(InvalidInput, match=EASY):
        password_policy.check(password, own=own)


@pytest.mark.parametrize(
    "password", [PASSWORD, "alice likes long walks", "mjq4-vw2t", "тёплый дождь в июле", "x7" * 3 + "Kp!vb2"]
)
def test_a_strong_password_is_accepted(password: str) -> None:
    password_policy.check(password, own=("alice@example.test", "alice"))


@pytest.mark.parametrize("password", ["4@4@0o3e" * 16, "a" * 128, "p4ssw0rd" * 16])
def test_a_long_password_is_judged_quickly(password: str) -> None:
    begun = time.process_time()
    with suppress(InvalidInput):
        password_policy.check(password)
    assert time.process_time() - begun < 1


def test_registering_refuses_an_easy_password_and_the_users_own_name(session: Session) -> None:
    for password in ("password", "erin.example"):
        with pytest.raises(InvalidInput, match=EASY) as caught:
            users.register(session, email="e@example.test", username="erin.example", password=password, actor=Actor())
        assert caught.value.field == "password"


@pytest.mark.parametrize(("new", "reason"), [("password", EASY), (PASSWORD, "password_unchanged")])
def test_neither_an_easy_password_nor_the_same_again_is_set(
    session: Session, alice: User, *, new: str, reason: str
) -> None:
    before = alice.password_hash
    with pytest.raises(InvalidInput, match=reason) as caught:
        users.change_password(session, alice, current=PASSWORD, new=new, actor=Actor(alice.id))
    assert caught.value.field == "new_password"
    with pytest.raises(InvalidInput, match=reason):
        users.set_password(session, alice, new, actor=Actor())
    assert (alice.password_hash, alice.password_version) == (before, 1)
    assert passwords.verify_password(alice.password_hash, PASSWORD)
