"""Account deletion concurrent with other changes: no deadlock, and nothing is lost."""

import threading
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text, update

from models import clock
from models.access_tokens import AccessToken
from models.config.settings import Settings
from models.database import Sessions
from models.payments import Payment
from models.proxy_sessions import ProxySession
from models.services.accounts import deletion, roles
from models.services.actor import PLATFORM
from models.services.errors import InvalidInput, NotFound, PaymentPending
from models.services.gateway import sessions, usage_counts
from models.services.gateway.usage_counts import SessionCounts
from models.services.ledger import adjustments
from models.services.tokens import extension
from models.users import User
from tests.conftest import PASSWORD
from tests.factories import assert_sound, balance, buy, crossing, logged_in, person, race, top_up

Committed = tuple[Settings, Sessions]


def deletes_account(user: User, settings: Settings) -> Callable[[Any], Any]:
    """Return a call that deletes a user's account."""

    def call(session: Any) -> Any:
        proof = {"password": PASSWORD, "code": None}
        owner = session.get_one(User, user.id)
        return deletion.delete_account(session, owner, **proof, settings=settings, actor=PLATFORM)

    return call


def test_deleting_an_account_during_an_extension_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = buy(session, alice, settings)

    def extend(session: Any) -> Any:
        facts = {"hours": 24, "key": uuid.uuid4(), "settings": settings, "actor": PLATFORM}
        return extension.extend(session, session.get_one(User, alice.id), token.id, **facts)

    price, gone = crossing(factory, extend, "FOR UPDATE", deletes_account(alice, settings))
    assert price == settings.prices.znc[24]
    assert isinstance(gone, deletion.DeletionSummary)
    with factory.begin() as session:
        assert session.get_one(AccessToken, token.id).revoked_at is not None
    assert_sound(factory)


def test_deleting_an_account_while_sessions_are_counted_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice, is_held = person(factory, "alice", balance="100"), threading.Event()
    # In the opposite order to the workers'.
    low, high = uuid.UUID(int=1), uuid.UUID(int=2)
    with factory.begin() as session:
        for wanted in (high, low):
            token = buy(session, alice, settings, hours=1)
            made = sessions.start_session(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
            session.execute(update(ProxySession).where(ProxySession.id == made.id).values(id=wanted))

    def until_waiting(count: int) -> None:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            with factory.begin() as session:
                if session.scalar(text(asked)) == count:
                    return
        raise AssertionError(f"never did {count} wait")

    def hold() -> None:
        with factory.begin() as session:
            session.execute(select(ProxySession.id).where(ProxySession.id == high).with_for_update())
            is_held.set()
            until_waiting(2)

    def leave() -> Any:
        is_held.wait(timeout=10)
        with factory.begin() as session:
            return deletes_account(alice, settings)(session)

    def add_counts() -> None:
        is_held.wait(timeout=10)
        until_waiting(1)
        with factory.begin() as session:
            usage_counts.add_counts(session, [SessionCounts(one, 1, 2, 3, clock.now()) for one in (low, high)])

    gone, *others = race(leave, add_counts, hold)
    assert isinstance(gone, deletion.DeletionSummary)
    assert others == [None, None]


def test_deleting_an_account_while_an_admin_disables_it_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    person(factory, "dana", is_superuser=True)
    alice = logged_in(factory)

    def disable(session: Any) -> Any:
        return roles.set_active(session, alice.id, active=False, actor=PLATFORM)

    disabled, gone = crossing(factory, disable, "UPDATE users", deletes_account(alice, settings))
    assert isinstance(disabled, User)
    assert isinstance(gone, deletion.DeletionSummary)


def test_the_wallet_of_a_deleted_account_cannot_be_adjusted_not_even_concurrently(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    facts = {"reason": "goodwill", "actor": PLATFORM}

    def adjust(session: Any) -> Any:
        return adjustments.adjust(session, session.get_one(User, alice.id), amount=Decimal(5), **facts)

    def set_balance(session: Any) -> Any:
        return adjustments.set_balance(session, session.get_one(User, alice.id), target=Decimal(50), **facts)

    gone, adjusted = crossing(factory, deletes_account(alice, settings), "FROM access_tokens", adjust)
    assert isinstance(gone, deletion.DeletionSummary)
    assert isinstance(adjusted, NotFound)
    for change in (adjust, set_balance):
        with pytest.raises(NotFound), factory.begin() as session:
            change(session)
    with factory.begin() as session:
        assert balance(session, alice) == 0
    assert_sound(factory)


def test_deleting_an_account_while_its_balance_is_set_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    facts = {"reason": "goodwill", "actor": PLATFORM}

    def set_balance(session: Any) -> Any:
        return adjustments.set_balance(session, session.get_one(User, alice.id), target=Decimal(50), **facts)

    held, gone = crossing(factory, set_balance, "FROM accounts", deletes_account(alice, settings))
    assert held == 50
    assert isinstance(gone, deletion.DeletionSummary)
    assert_sound(factory)


def test_an_account_is_deleted_once(committed: Committed) -> None:
    settings, factory = committed
    alice = logged_in(factory)
    gone, again = crossing(factory, deletes_account(alice, settings), "FROM accounts", deletes_account(alice, settings))
    assert isinstance(gone, deletion.DeletionSummary)
    assert isinstance(again, InvalidInput)
    assert_sound(factory)


def test_no_payment_starts_for_an_account_that_is_deleted_concurrently(committed: Committed) -> None:
    settings, factory = committed
    alice, bob = person(factory, "alice"), person(factory, "bob")

    def starts(user: User) -> Callable[[Any], Any]:
        return lambda session: top_up(session, session.get_one(User, user.id), settings).id

    began, refused = crossing(factory, starts(alice), "INSERT INTO payments", deletes_account(alice, settings))
    assert isinstance(began, uuid.UUID)
    assert isinstance(refused, PaymentPending)
    gone, too_late = crossing(factory, deletes_account(bob, settings), "FROM accounts", starts(bob))
    assert isinstance(gone, deletion.DeletionSummary)
    assert isinstance(too_late, NotFound)
    with factory.begin() as session:
        assert session.scalars(select(Payment.user_id)).all() == [alice.id]
