"""Two transactions that need the same rows: whichever order they come in, neither is thrown out for a deadlock."""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import event, func, select, text, update

from models import clock
from models.config import Settings
from models.database import Sessions
from models.devices import KnownDevice
from models.links import AccountLink, LinkPurpose
from models.logins import LoginKind
from models.notices import Topic
from models.outbox import OutboxMail
from models.services import (
    counting,
    credentials,
    deliveries,
    devices,
    extending,
    leaving,
    links,
    logins,
    outbox,
    roles,
    sessions,
    users,
    webhooks,
)
from models.services.context import PLATFORM
from models.services.counting import Count
from models.services.deliveries import Outcome
from models.services.errors import InvalidInput, LinkExpired
from models.sessions import ProxySession
from models.tokens import AccessToken
from models.users import User
from models.webhooks import WebhookDelivery, WebhookEndpoint
from tests.conftest import PASSWORD
from tests.support import assert_sound, buy, engine_of, person, race

Committed = tuple[Settings, Sessions]
HOOK = "https://example.org/hook"


def crossing(factory: Sessions, first: Callable[[Any], Any], part: str, second: Callable[[Any], Any]) -> list[Any]:
    """Let `first` come as far as its first statement with `part`, then start `second`, and let both go on.

    Returns what each returned or raised.
    """
    held, goes_on, me = threading.Event(), threading.Event(), threading.local()

    def hold(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if getattr(me, "is_first", False) and part in statement and not held.is_set():
            held.set()
            # The other one either ends meanwhile or waits for a row of ours.
            goes_on.wait(timeout=0.5)

    def run_first() -> Any:
        me.is_first = True
        try:
            with factory.begin() as session:
                return first(session)
        finally:
            held.set()

    def run_second() -> Any:
        held.wait(timeout=10)
        with factory.begin() as session:
            made = second(session)
        goes_on.set()
        return made

    event.listen(engine_of(factory), "after_cursor_execute", hold)
    try:
        return race(run_first, run_second)
    finally:
        event.remove(engine_of(factory), "after_cursor_execute", hold)


def leaves(user: User, settings: Settings) -> Callable[[Any], Any]:
    """Return a call by which somebody deletes his account."""

    def call(session: Any) -> Any:
        proof = {"password": PASSWORD, "code": None}
        owner = session.get_one(User, user.id)
        return leaving.delete_account(session, owner, **proof, settings=settings, actor=PLATFORM)

    return call


def test_an_account_deleted_while_its_token_is_extended_is_no_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice", balance="100")
    with factory.begin() as session:
        token = buy(session, alice, settings)

    def extend(session: Any) -> Any:
        facts = {"hours": 24, "key": uuid.uuid4(), "settings": settings, "actor": PLATFORM}
        return extending.extend(session, session.get_one(User, alice.id), token.id, **facts)

    price, gone = crossing(factory, extend, "FOR UPDATE", leaves(alice, settings))
    assert price == settings.prices.znc[24]
    assert isinstance(gone, leaving.Farewell)
    with factory.begin() as session:
        assert session.get_one(AccessToken, token.id).revoked_at is not None
    assert_sound(factory)


def hooked(factory: Sessions, settings: Settings, alice: User, notices: int) -> tuple[uuid.UUID, list[uuid.UUID]]:
    """Give alice an endpoint with deliveries that a sender holds."""
    with factory.begin() as session:
        owner, topics = session.get_one(User, alice.id), list(Topic)
        made = webhooks.create(session, owner, uuid.uuid4(), url=HOOK, topics=topics, settings=settings, actor=PLATFORM)
        assert made is not None
        for number in range(notices):
            facts = {"username": "alice", "amount_znc": "5.00"}
            outbox.write(session, "bonus", owner, dedup_key=f"{made[0].id}:{number}", **facts)
        return made[0].id, [delivery.id for delivery in deliveries.claim(session)]


def test_an_endpoint_changed_while_its_delivery_is_marked_is_no_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice")
    failed = Outcome(5, status=500)

    def switch_off(session: Any) -> None:
        webhooks.switch(session, session.get_one(WebhookEndpoint, endpoint_id), on=False, actor=PLATFORM)

    def remove(session: Any) -> None:
        webhooks.remove(session, session.get_one(WebhookEndpoint, endpoint_id), actor=PLATFORM)

    def record(session: Any) -> None:
        deliveries.record(session, delivery_ids[0], failed, settings)

    for change, part in ((switch_off, "UPDATE webhook_endpoints"), (remove, "DELETE FROM webhook_endpoints")):
        endpoint_id, delivery_ids = hooked(factory, settings, alice, 1)
        assert crossing(factory, change, part, record) == [None, None]


def test_an_endpoint_that_two_senders_mark_as_it_is_switched_off_is_no_deadlock(committed: Committed) -> None:
    settings, factory = committed
    settings = settings.model_copy(update={"webhooks": settings.webhooks.model_copy(update={"disable_after": 1})})
    alice = person(factory, "alice")
    _endpoint_id, (one, other) = hooked(factory, settings, alice, 2)

    def record(delivery_id: uuid.UUID) -> Callable[[Any], None]:
        return lambda session: deliveries.record(session, delivery_id, Outcome(5, status=500), settings)

    assert crossing(factory, record(one), "FOR UPDATE", record(other)) == [None, None]
    with factory.begin() as session:
        assert session.scalars(select(WebhookEndpoint.enabled)).all() == [False]
        assert session.scalar(select(func.count()).where(WebhookDelivery.dead_at.is_(None))) == 0


def test_an_endpoint_made_by_a_form_that_was_sent_twice_is_one(committed: Committed) -> None:
    settings, factory = committed
    alice, endpoint_id = person(factory, "alice"), uuid.uuid4()

    def create(session: Any) -> Any:
        owner = session.get_one(User, alice.id)
        facts = {"topics": list(Topic), "settings": settings, "actor": PLATFORM}
        return webhooks.create(session, owner, endpoint_id, url=HOOK, **facts)

    made, again = crossing(factory, create, "FOR NO KEY UPDATE", create)
    assert made is not None
    assert again is None


def test_two_logins_at_once_of_a_device_that_is_new_are_told_once(committed: Committed) -> None:
    _settings, factory = committed
    alice = person(factory, "alice")

    def log_in(shown: str) -> Callable[[Any], None]:
        def call(session: Any) -> None:
            owner = session.get_one(User, alice.id)
            devices.note_login(session, owner, shown, name="Firefox", actor=PLATFORM)
            session.flush()

        return call

    assert crossing(factory, log_in("first"), "known_devices", log_in("first")) == [None, None]
    assert crossing(factory, log_in("second"), "known_devices", log_in("second")) == [None, None]
    with factory.begin() as session:
        assert session.scalar(select(func.count()).select_from(KnownDevice)) == 2
        assert session.scalars(select(OutboxMail.kind).where(OutboxMail.kind == "login")).all() == ["login"]


def test_what_two_admins_do_to_one_account_at_once_is_done_by_both(committed: Committed) -> None:
    _settings, factory = committed
    alice = person(factory, "alice")
    person(factory, "dana", is_superuser=True)

    def set_active(*, active: bool) -> Callable[[Any], Any]:
        def call(session: Any) -> Any:
            shown = session.get_one(User, alice.id)
            return shown and roles.set_active(session, alice.id, active=active, actor=PLATFORM).is_active

        return call

    assert crossing(factory, set_active(active=False), "FOR NO KEY UPDATE", set_active(active=True)) == [False, True]
    with factory.begin() as session:
        assert session.get_one(User, alice.id).is_active


def test_an_account_deleted_while_its_sessions_are_counted_is_no_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice, is_held = person(factory, "alice", balance="100"), threading.Event()
    # They lie the other way round than a worker takes them.
    low, high = uuid.UUID(int=1), uuid.UUID(int=2)
    with factory.begin() as session:
        for wanted in (high, low):
            token = buy(session, alice, settings, hours=1)
            made = sessions.begin(session, token.id, device=None, rules=settings.sessions, actor=PLATFORM)
            session.execute(update(ProxySession).where(ProxySession.id == made.id).values(id=wanted))

    def until_waiting(count: int) -> None:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            with factory.begin() as session:
                if session.scalar(text(asked)) == count:
                    return

    def hold() -> None:
        with factory.begin() as session:
            session.execute(select(ProxySession.id).where(ProxySession.id == high).with_for_update())
            is_held.set()
            until_waiting(2)

    def leave() -> Any:
        is_held.wait(timeout=10)
        with factory.begin() as session:
            return leaves(alice, settings)(session)

    def add_counts() -> None:
        is_held.wait(timeout=10)
        until_waiting(1)
        with factory.begin() as session:
            counting.add_counts(session, [Count(one, 1, 2, 3, clock.now()) for one in (low, high)])

    gone, *others = race(leave, add_counts, hold)
    assert isinstance(gone, leaving.Farewell)
    assert others == [None, None]


def logged_in(factory: Sessions, name: str = "alice") -> User:
    """Somebody with an open login."""
    user = person(factory, name, balance="10")
    with factory.begin() as session:
        facts = {"kind": LoginKind.PAGE, "lifetime": timedelta(hours=1), "actor": PLATFORM}
        logins.begin(session, session.get_one(User, user.id), **facts)
    return user


def test_an_account_deleted_while_an_admin_disables_it_is_no_deadlock(committed: Committed) -> None:
    settings, factory = committed
    person(factory, "dana", is_superuser=True)
    alice = logged_in(factory)

    def disable(session: Any) -> Any:
        return roles.set_active(session, alice.id, active=False, actor=PLATFORM)

    disabled, gone = crossing(factory, disable, "UPDATE users", leaves(alice, settings))
    assert isinstance(disabled, User)
    assert isinstance(gone, leaving.Farewell)


def test_an_account_is_deleted_once(committed: Committed) -> None:
    settings, factory = committed
    alice = logged_in(factory)
    gone, again = crossing(factory, leaves(alice, settings), "FROM accounts", leaves(alice, settings))
    assert isinstance(gone, leaving.Farewell)
    assert isinstance(again, InvalidInput)
    assert_sound(factory)


def test_a_mailed_link_followed_while_the_password_is_changed_is_no_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = logged_in(factory)
    with factory.begin() as session:
        links.ask(session, LinkPurpose.RESET_PASSWORD, alice.email, settings=settings, actor=PLATFORM)
        links.send_asked(session)
        secret = links.secret_of(settings, session.scalars(select(AccountLink.id)).one())

    def change(session: Any) -> None:
        owner = session.get_one(User, alice.id)
        users.change_password(session, owner, current=PASSWORD, new="another long one", actor=PLATFORM)

    def follow(session: Any) -> None:
        credentials.reset_password(session, secret, "one from a mail", settings=settings, actor=PLATFORM)

    changed, followed = crossing(factory, change, "UPDATE users", follow)
    assert changed is None
    # The new password has ended the link.
    assert isinstance(followed, LinkExpired)
