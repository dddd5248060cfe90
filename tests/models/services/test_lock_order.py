"""Concurrent transactions on the same rows do not deadlock, in either order."""

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from models.config.settings import Settings
from models.database import Sessions
from models.email_links import EmailLink, LinkPurpose
from models.known_devices import KnownDevice
from models.notification_preferences import Topic
from models.outbox import OutboxMail
from models.services.accounts import email_flows, email_links, known_devices, roles, users
from models.services.actor import PLATFORM
from models.services.errors import LinkExpired
from models.services.notifications import outbox
from models.services.webhooks import deliveries
from models.services.webhooks import endpoints as webhook_endpoints
from models.services.webhooks.deliveries import AttemptResult
from models.users import User
from models.webhooks import WebhookDelivery, WebhookEndpoint
from tests.conftest import PASSWORD
from tests.factories import crossing, logged_in, person

Committed = tuple[Settings, Sessions]
HOOK = "https://example.org/hook"


def hooked(factory: Sessions, settings: Settings, alice: User, notices: int) -> tuple[uuid.UUID, list[uuid.UUID]]:
    """Create an endpoint with claimed deliveries for alice."""
    with factory.begin() as session:
        owner, topics = session.get_one(User, alice.id), list(Topic)
        made = webhook_endpoints.create(
            session, owner, uuid.uuid4(), url=HOOK, topics=topics, settings=settings, actor=PLATFORM
        )
        assert made is not None
        for number in range(notices):
            facts = {"username": "alice", "amount_znc": "5.00"}
            outbox.enqueue_mail(session, "bonus", owner, dedup_key=f"{made[0].id}:{number}", **facts)
        return made[0].id, [delivery.id for delivery in deliveries.claim(session)]


def test_changing_an_endpoint_while_its_delivery_is_marked_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = person(factory, "alice")
    failed = AttemptResult(5, status=500)

    def switch_off(session: Any) -> None:
        webhook_endpoints.set_enabled(session, session.get_one(WebhookEndpoint, endpoint_id), on=False, actor=PLATFORM)

    def remove(session: Any) -> None:
        webhook_endpoints.remove(session, session.get_one(WebhookEndpoint, endpoint_id), actor=PLATFORM)

    def record(session: Any) -> None:
        deliveries.record(session, delivery_ids[0], failed, settings)

    for change, part in ((switch_off, "UPDATE webhook_endpoints"), (remove, "DELETE FROM webhook_endpoints")):
        endpoint_id, delivery_ids = hooked(factory, settings, alice, 1)
        assert crossing(factory, change, part, record) == [None, None]


def test_two_senders_that_mark_an_endpoint_being_disabled_do_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    settings = settings.model_copy(update={"webhooks": settings.webhooks.model_copy(update={"disable_after": 1})})
    alice = person(factory, "alice")
    _endpoint_id, (one, other) = hooked(factory, settings, alice, 2)

    def record(delivery_id: uuid.UUID) -> Callable[[Any], None]:
        return lambda session: deliveries.record(session, delivery_id, AttemptResult(5, status=500), settings)

    assert crossing(factory, record(one), "FOR UPDATE", record(other)) == [None, None]
    with factory.begin() as session:
        assert session.scalars(select(WebhookEndpoint.enabled)).all() == [False]
        assert session.scalar(select(func.count()).where(WebhookDelivery.dead_at.is_(None))) == 0


def test_a_form_sent_twice_creates_one_endpoint(committed: Committed) -> None:
    settings, factory = committed
    alice, endpoint_id = person(factory, "alice"), uuid.uuid4()

    def create(session: Any) -> Any:
        owner = session.get_one(User, alice.id)
        facts = {"topics": list(Topic), "settings": settings, "actor": PLATFORM}
        return webhook_endpoints.create(session, owner, endpoint_id, url=HOOK, **facts)

    made, again = crossing(factory, create, "FOR NO KEY UPDATE", create)
    assert made is not None
    assert again is None


def test_two_concurrent_logins_of_a_new_device_are_notified_once(committed: Committed) -> None:
    _settings, factory = committed
    alice = person(factory, "alice")

    def log_in(shown: str) -> Callable[[Any], None]:
        def call(session: Any) -> None:
            owner = session.get_one(User, alice.id)
            known_devices.record_login(session, owner, shown, name="Firefox", actor=PLATFORM)
            session.flush()

        return call

    assert crossing(factory, log_in("first"), "known_devices", log_in("first")) == [None, None]
    assert crossing(factory, log_in("second"), "known_devices", log_in("second")) == [None, None]
    with factory.begin() as session:
        assert session.scalar(select(func.count()).select_from(KnownDevice)) == 2
        assert session.scalars(select(OutboxMail.kind).where(OutboxMail.kind == "login")).all() == ["login"]


def test_concurrent_changes_of_one_account_by_two_admins_both_apply(committed: Committed) -> None:
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


def test_using_an_e_mailed_link_during_a_password_change_does_not_deadlock(committed: Committed) -> None:
    settings, factory = committed
    alice = logged_in(factory)
    with factory.begin() as session:
        email_links.request_link(session, LinkPurpose.RESET_PASSWORD, alice.email, settings=settings, actor=PLATFORM)
        email_links.send_requested(session)
        secret = email_links.secret_of(settings, session.scalars(select(EmailLink.id)).one())

    def change(session: Any) -> None:
        owner = session.get_one(User, alice.id)
        users.change_password(session, owner, current=PASSWORD, new="another long one", actor=PLATFORM)

    def follow(session: Any) -> None:
        email_flows.reset_password(session, secret, "one from a mail", settings=settings, actor=PLATFORM)

    changed, followed = crossing(factory, change, "UPDATE users", follow)
    assert changed is None
    # The new password has ended the link.
    assert isinstance(followed, LinkExpired)
