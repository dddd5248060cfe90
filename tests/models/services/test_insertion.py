"""Unique index conflicts are decided without an error, which PostgreSQL would log with its values."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import Session

from models import clock
from models.announcements import Level
from models.config.settings import Settings
from models.database import Sessions
from models.services.accounts import users
from models.services.actor import PLATFORM, Actor
from models.services.errors import EmailTaken, InvalidInput, UsernameTaken
from models.services.notifications import announcements
from models.services.promotions import coupons
from models.users import User
from tests.conftest import PASSWORD
from tests.factories import race


def register(session: Session, email: str, username: str) -> User:
    return users.register(session, email=email, username=username, password=PASSWORD, actor=PLATFORM)


def test_registering_a_taken_address_or_name_raises_a_domain_error(session: Session, alice: User, bob: User) -> None:
    failed: list[str] = []
    engine = session.get_bind().engine

    def note(context: ExceptionContext) -> None:
        failed.append(str(context.statement))

    event.listen(engine, "handle_error", note)
    with pytest.raises(EmailTaken):
        register(session, alice.email.upper(), "another")
    with pytest.raises(UsernameTaken):
        register(session, "another@example.test", bob.username.upper())
    event.remove(engine, "handle_error", note)
    assert failed == []
    assert register(session, "another@example.test", "another").id != alice.id


def test_of_two_concurrent_registrations_with_one_address_one_succeeds(committed: tuple[Settings, Sessions]) -> None:
    _, factory = committed

    def call(name: str) -> str:
        with factory.begin() as session:
            return register(session, "same@example.test", name).username

    done = race(lambda: call("first"), lambda: call("second"))
    assert sorted(type(one).__name__ for one in done) == ["EmailTaken", "str"]


def test_a_taken_code_and_a_repeated_announcement_raise_domain_errors(session: Session, dana: User) -> None:
    facts: dict[str, Any] = dict.fromkeys(("percent", "uses_in_all", "uses_per_user", "valid_until"))
    facts |= {"amount": Decimal(5), "actor": Actor(dana.id)}
    coupons.create(session, code="SPRING", **facts)
    with pytest.raises(InvalidInput, match="_taken"):
        coupons.create(session, code="spring", **facts)
    words: dict[str, Any] = {"words_en": "Planned work", "words_ru": "Плановые работы", "ends_at": None}
    words |= {"starts_at": clock.now(), "level": Level.INFO, "actor": Actor(dana.id)}
    once = announcements.create(session, **words)
    again = announcements.create(session, announcement_id=once.id, **words)
    assert again.id == once.id
