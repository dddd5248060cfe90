"""Notifications: users get what they subscribed to, once, at the time of the event."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models import clock
from models.announcements import Level
from models.config.settings import Settings
from models.notification_preferences import ALWAYS_MAILED, Topic
from models.outbox import OutboxMail
from models.services.accounts import known_devices
from models.services.actor import PLATFORM, Actor
from models.services.errors import NotFound
from models.services.ledger import adjustments
from models.services.notifications import announcements, broadcast, mail_samples, outbox
from models.services.notifications import preferences as notification_preferences
from models.services.tokens import expiry_notices, outage_credit, revocation
from models.services.tokens import pause as token_pause
from models.services.webhooks import endpoints as webhook_endpoints
from models.users import User
from models.webhooks import WebhookDelivery
from tests.conftest import Clock, make_user
from tests.factories import BROWSER, buy
from tests.models.services.tokens.test_outage_credit import outage

LINK = "/unsubscribe/"


@pytest.fixture(autouse=True)
def no_mails_yet(session: Session, alice: User) -> None:
    session.execute(delete(OutboxMail))


def kinds(session: Session) -> list[str]:
    """Return the kinds of the pending mails, oldest first."""
    return list(session.scalars(select(OutboxMail.kind).order_by(OutboxMail.created_at, OutboxMail.id)))


def facts(session: Session, kind: str) -> dict[str, str]:
    """Return the context of the only mail of a kind."""
    return session.scalars(select(OutboxMail.context).where(OutboxMail.kind == kind)).one()


def test_every_topic_is_sent_until_it_is_switched_off(session: Session, alice: User) -> None:
    assert set(notification_preferences.preferences_of(session, alice.id).values()) == {(True, True)}
    notification_preferences.set_preference(session, alice, Topic.BONUS, mail=False)
    outbox.enqueue_mail(session, "bonus", alice, dedup_key="a", username="alice", amount_znc="1.00")
    outbox.enqueue_mail(session, "renewed", alice, dedup_key="b", username="alice")
    assert kinds(session) == ["renewed"]
    assert notification_preferences.preferences_of(session, alice.id)[Topic.BONUS] == (False, True)
    notification_preferences.set_preference(session, alice, Topic.BONUS, mail=True, webhook=False)
    assert notification_preferences.preferences_of(session, alice.id)[Topic.BONUS] == (True, False)


def test_receipts_and_warnings_cannot_be_switched_off(session: Session, alice: User, settings: Settings) -> None:
    for topic in Topic:
        notification_preferences.set_preference(session, alice, topic, mail=False)
    still = {
        topic for topic, (mail, _webhook) in notification_preferences.preferences_of(session, alice.id).items() if mail
    }
    assert still == ALWAYS_MAILED == {Topic.PAYMENT, Topic.REFUND, Topic.TOKEN_ENDED, Topic.LOGIN}
    for kind in ("payment", "money_back", "token_revoked", "login", "welcome"):
        outbox.enqueue_mail(session, kind, alice, dedup_key=kind)
        assert notification_preferences.unsubscribe_path(settings.portal, alice.id, kind) is None
    assert len(kinds(session)) == 5


def test_an_unsubscribe_link_names_user_and_topic_and_cannot_be_forged(
    session: Session, alice: User, settings: Settings
) -> None:
    path = notification_preferences.unsubscribe_path(settings.portal, alice.id, "bonus")
    assert path is not None
    signed = path.removeprefix(LINK)
    assert notification_preferences.subscription(session, settings.portal, signed) == (alice, Topic.BONUS)
    nobodys = (notification_preferences.unsubscribe_path(settings.portal, uuid.uuid4(), "bonus") or "").removeprefix(
        LINK
    )
    for bad in ("", "x", signed[:-1], "." + signed, signed.swapcase(), nobodys):
        with pytest.raises(NotFound):
            notification_preferences.subscription(session, settings.portal, bad)


def test_an_owner_is_notified_once_of_an_expiry(session: Session, alice: User, settings: Settings, time: Clock) -> None:
    token = buy(session, alice, settings, hours=168)
    token.activated_at = time()
    session.flush()
    time.advance(hours=143, minutes=59)
    assert run_job(session, settings) == 0
    time.advance(minutes=2)
    assert (run_job(session, settings), run_job(session, settings)) == (1, 0)
    assert facts(session, "token_expiring")["ends"] == (time() + timedelta(hours=23, minutes=59)).isoformat()


def test_a_short_tokens_owner_is_notified_at_half_time(
    session: Session, alice: User, settings: Settings, time: Clock
) -> None:
    buy(session, alice, settings, hours=12).activated_at = time()
    session.flush()
    time.advance(hours=5, minutes=59)
    assert run_job(session, settings) == 0
    time.advance(minutes=2)
    assert run_job(session, settings) == 1


@pytest.mark.parametrize("why", ["unused", "paused", "renewing", "revoked", "over"])
def test_no_expiry_is_announced_for_other_tokens(
    session: Session, alice: User, settings: Settings, time: Clock, why: str
) -> None:
    token = buy(session, alice, settings, hours=24)
    token.activated_at = None if why == "unused" else time()
    token.auto_renew = why == "renewing"
    session.flush()
    time.advance(hours=25 if why == "over" else 23)
    if why == "paused":
        token_pause.pause(session, alice, token.id, settings=settings, actor=Actor(alice.id))
    if why == "revoked":
        revocation.revoke(session, alice, token.id, settings=settings, actor=Actor(alice.id))
    session.flush()
    assert run_job(session, settings) == 0


def run_job(session: Session, settings: Settings) -> int:
    """Run the job."""
    session.flush()
    return sum(expiry_notices.notify(session, key, settings) for key in expiry_notices.due_to_notify(session, settings))


def test_a_balance_that_falls_below_the_threshold_is_notified_once(
    session: Session, alice: User, settings: Settings
) -> None:
    alice.low_balance_znc = Decimal(50)
    buy(session, alice, settings, hours=24)
    assert kinds(session) == []
    buy(session, alice, settings, hours=24)
    buy(session, alice, settings, hours=24)
    assert kinds(session) == ["balance_low"]
    buy(session, alice, settings, hours=24)
    assert kinds(session) == ["balance_low"]
    told = facts(session, "balance_low")
    assert (told["balance"], told["threshold"]) == ("46.00", "50.00")
    adjustments.adjust(session, alice, amount=Decimal(30), reason="more", actor=PLATFORM)
    buy(session, alice, settings, hours=24)
    assert kinds(session) == ["balance_low"] * 2


def test_a_user_without_threshold_is_never_notified(session: Session, alice: User, settings: Settings) -> None:
    """No low-balance mail without a threshold, which is not set at first."""
    assert alice.low_balance_znc == 0
    buy(session, alice, settings, hours=168)
    assert kinds(session) == []


def test_an_outage_is_notified_once_to_each_owner_however_many_tokens_they_have(
    session: Session, alice: User, bob: User, settings: Settings
) -> None:
    now = clock.now()
    for _ in range(3):
        buy(session, alice, settings).activated_at = now - timedelta(hours=3)
    buy(session, bob, settings)
    session.execute(delete(OutboxMail))
    found = outage(session, now - timedelta(hours=2), now - timedelta(hours=1))
    while outage_credit.credit(session, found.id, settings, limit=2):
        pass
    assert kinds(session) == ["outage_credit"]
    assert facts(session, "outage_credit")["began"] == found.opened_at.isoformat()


def test_a_login_from_a_new_device_is_notified_and_from_a_known_one_is_not(
    session: Session, alice: User, bob: User, time: Clock
) -> None:
    session.execute(delete(OutboxMail))
    for shown in ("the first", "the first", "another", "another", "the first"):
        known_devices.record_login(session, alice, shown, name="Firefox on Windows", actor=BROWSER)
        session.flush()
    known_devices.record_login(session, bob, "the first", name="Firefox on Windows", actor=BROWSER)
    assert kinds(session) == ["login"]
    assert facts(session, "login") == {
        "username": "alice",
        "at": time().isoformat(),
        "device": "Firefox on Windows",
        "address": BROWSER.ip_address,
    }
    time.advance(days=366)
    assert known_devices.delete_unused(session) == 3


def test_a_broadcast_reaches_every_subscriber_once(
    session: Session, alice: User, bob: User, charlie: User, settings: Settings
) -> None:
    dana = make_user(session, "dana")
    session.execute(delete(OutboxMail))
    notification_preferences.set_preference(session, bob, Topic.ANNOUNCEMENT, mail=False)
    charlie.is_active, dana.awaits_confirmation = False, True
    for user in (alice, bob, charlie):
        facts = {"url": "https://example.org/", "settings": settings, "actor": PLATFORM}
        webhook_endpoints.create(session, user, uuid.uuid4(), topics=[Topic.ANNOUNCEMENT], **facts)
    notification_preferences.set_preference(session, alice, Topic.ANNOUNCEMENT, webhook=False)
    session.flush()
    told = {"words": mail_samples.sample_context("announcement")["words"]}
    counts = [broadcast.enqueue_for_all(session, "announcement", dedup_key="announcement:1", **told) for _ in range(2)]
    assert counts == [1, 0]
    mail = session.scalars(select(OutboxMail)).one()
    assert (mail.recipient, mail.context) == (alice.email, {"username": "alice", **told})
    delivery = session.scalars(select(WebhookDelivery)).one()
    assert (delivery.endpoint.user_id, delivery.data) == (bob.id, told)


def test_an_announcement_is_sent_to_everybody(session: Session, alice: User, dana: User) -> None:
    session.execute(delete(OutboxMail))
    words = {"words_en": "Planned work", "words_ru": "Плановые работы"}
    announcements.create(session, level=Level.INFO, starts_at=None, ends_at=None, actor=Actor(dana.id), **words)
    mails = session.scalars(select(OutboxMail).order_by(OutboxMail.recipient)).all()
    assert [(mail.kind, mail.recipient) for mail in mails] == [
        ("announcement", alice.email),
        ("announcement", dana.email),
    ]
    assert mails[0].context["words"] == {"en": "Planned work", "ru": "Плановые работы"}
