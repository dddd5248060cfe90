"""Account enumeration: neither a page nor its work reveals whether an address has an account.

docs/spec/invariants.md#28-account-enumeration
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import Connection, select, update
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from models.config.settings import Settings
from models.services.accounts import passwords
from models.users import User
from ops.dev.page_profiler.queries import record_queries
from tests.conftest import PASSWORD
from tests.portal import mail_helpers
from tests.portal.conftest import Browser, text_of
from tests.portal.mail_helpers import Mailbox

FREE = "nobody@example.test"
# Reloaded when a process' copy is a second or two old, regardless of the request.
KEPT = ("FROM setting_changes", "FROM announcements")


@pytest.fixture
def post(app: Flask, settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with mail_helpers.running(app, settings, connection, monkeypatch) as box:
        yield box


@dataclass
class Seen:
    """Everything observable of a response, and the work that it caused."""

    status: int
    location: str | None
    page: str
    hashes: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)


@pytest.fixture
def seen(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """Return a function that submits a form in a new browser and returns what is observable."""
    hashes: list[str] = []

    class Counting(PasswordHasher):
        def hash(self, *call: Any, **more: Any) -> str:
            hashes.append("hash")
            return super().hash(*call, **more)

        def verify(self, *call: Any, **more: Any) -> Any:
            hashes.append("verify")
            return super().verify(*call, **more)

    usual = passwords._hasher
    addresses = (f"203.0.113.{number}" for number in range(1, 250))
    counting = Counting(usual.time_cost, usual.memory_cost, usual.parallelism)
    monkeypatch.setattr(passwords, "_hasher", counting)

    def send(path: str, browser: Browser | None = None, **fields: str) -> Seen:
        browser = browser or Browser(app.test_client())
        browser.client.environ_base["REMOTE_ADDR"] = next(addresses)
        token = browser.csrf_token()
        hashes.clear()
        with record_queries() as found:
            answer = browser.client.post(path, data={"csrf_token": token, **fields})
        kept = list(hashes)
        shown = text_of(answer, "alert") or browser.flashes(answer.location or path) or _alert(browser, answer)
        statements = [query.statement for query in found.queries if not any(kept in query.statement for kept in KEPT)]
        return Seen(answer.status_code, answer.location, shown, kept, statements)

    return send


def _alert(browser: Browser, answer: TestResponse) -> str:
    return text_of(browser.get(answer.location), "alert") if answer.location else ""


@pytest.mark.parametrize("mail", [True, False], ids=["with mail", "without mail"])
def test_28_a_login_does_not_reveal_whether_an_address_has_an_account(
    seen: Callable[..., Seen], alice: User, mail: bool, request: pytest.FixtureRequest
) -> None:
    if mail:
        request.getfixturevalue("post")
    taken, free = (seen("/login", email=email, password="not hers") for email in (alice.email, FREE))
    assert taken == free
    assert (taken.status, taken.hashes) == (401, ["verify"])


def test_28_a_login_does_not_reveal_whether_an_address_is_unconfirmed(
    seen: Callable[..., Seen], post: Mailbox, alice: User, session: Session
) -> None:
    session.execute(update(User).where(User.id == alice.id).values(awaits_confirmation=True))
    session.commit()
    # Not even to who has chosen the password.
    taken, free = (seen("/login", email=email, password=PASSWORD) for email in (alice.email, FREE))
    assert (taken.status, taken.page, taken.hashes) == (free.status, free.page, free.hashes)


@pytest.mark.parametrize("path", ["/forgot-password", "/confirm-again"])
def test_28_requesting_a_link_gets_the_same_response_and_does_the_same_work_for_every_address(
    *, seen: Callable[..., Seen], post: Mailbox, alice: User, session: Session, path: str
) -> None:
    session.execute(update(User).where(User.id == alice.id).values(awaits_confirmation=True))
    session.commit()
    taken, free = (seen(path, email=email) for email in (alice.email, FREE))
    assert taken == free
    assert (taken.status, taken.location, taken.hashes) == (303, f"{path}?sent=1", [])
    assert len(taken.statements) > 0
    # A job looked who has the address.
    assert [to for to, _subject, _text in post.arrived()] == [alice.email]


@pytest.mark.parametrize("mail", [True, False], ids=["with mail", "without mail"])
def test_28_registering_a_taken_address_gets_the_same_response_as_a_free_one(
    *, seen: Callable[..., Seen], alice: User, session: Session, mail: bool, request: pytest.FixtureRequest
) -> None:
    box: Mailbox | None = request.getfixturevalue("post") if mail else None
    for suffix, fields in (("", {}), ("x", {"username": "alice"}), ("y", {"referral_code": "AAAABBBBCCCC"})):
        answers = [
            seen("/register", **{"email": email, "username": f"{name}{suffix}", "password": PASSWORD, **fields})
            for email, name in ((alice.email, "mallory"), (f"{suffix}{FREE}", "mallory2"))
        ]
        taken, free = answers
        assert (taken.status, taken.location, taken.page, taken.hashes) == (
            (free.status, free.location, free.page, free.hashes)
        )
    # The next step tells as little.
    taken, free = (seen("/login", email=email, password="not the owner's") for email in (alice.email, FREE))
    assert (taken.status, taken.page, taken.hashes) == (free.status, free.page, free.hashes)
    assert session.scalar(select(User.id).where(User.username == "mallory")) is None
    assert passwords.verify_password(session.get_one(User, alice.id).password_hash, PASSWORD)
    if box is not None:
        told = sorted((to, subject) for to, subject, _text in box.arrived())
        assert told == [(alice.email, "You already have an account"), (FREE, "Confirm your e-mail address")]


def test_28_changing_an_address_does_not_reveal_which_addresses_are_taken(
    *, seen: Callable[..., Seen], as_alice: Browser, post: Mailbox, bob: User, session: Session
) -> None:
    session.commit()
    taken, free = (
        seen("/profile/email", as_alice, email=email, current_password=PASSWORD) for email in (bob.email, FREE)
    )
    assert taken == free
    assert taken.status == 303
    told = sorted((to, subject) for to, subject, _text in post.arrived())
    assert told == [(bob.email, "You already have an account"), (FREE, "Confirm your new address")]
