"""Webhooks are signed and delivered once; a slow, broken or malicious receiver affects only itself."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from jobs import context, http_post, webhooks
from models import clock
from models.config.settings import Settings
from models.database import Sessions
from models.notification_preferences import Topic
from models.outbox import OutboxMail
from models.services.actor import PLATFORM
from models.services.notifications import outbox
from models.services.notifications import preferences as notification_preferences
from models.services.webhooks import deliveries, endpoints
from models.users import User
from models.webhooks import DeliveryState, WebhookDelivery, WebhookEndpoint
from tests.jobs import fake_webhook_receiver
from tests.jobs.fake_webhook_receiver import Receiver

Committed = tuple[Settings, Sessions]
Run = Callable[[Callable[[Session], Any]], Any]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with fake_webhook_receiver.running() as receiver:
        yield receiver


@pytest.fixture
def rules(shop: Committed, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Short time-outs, and deliveries to loopback, where the test's receivers are."""
    rules = shop[0].webhooks.model_copy(update={"allow_private": True, "timeout_seconds": 0.4, "disable_after": 5})
    settings = shop[0].model_copy(update={"webhooks": rules})
    monkeypatch.setattr(context, "settings", lambda: settings)
    return settings


def add(run: Run, user: User, url: str, settings: Settings, *topics: Topic) -> tuple[uuid.UUID, bytes]:
    """Create an endpoint for some topics, or for all; return its id and secret."""
    words = topics or tuple(Topic)

    def call(session: Session) -> tuple[uuid.UUID, bytes]:
        facts = {"topics": words, "settings": settings, "actor": PLATFORM}
        made = endpoints.create(session, session.merge(user), uuid.uuid4(), url=url, **facts)
        assert made is not None
        return made[0].id, base64.b64decode(made[1].removeprefix("whsec_"))

    return run(call)


def notify(run: Run, user: User, kind: str = "bonus", key: str = "a") -> None:
    """Enqueue a notification."""
    run(lambda s: outbox.enqueue_mail(s, kind, user, dedup_key=key, username=user.username, amount_znc="5.00"))


def make_due(run: Run) -> None:
    """Make every delivery due."""
    past = clock.now() - timedelta(seconds=1)
    run(lambda s: s.execute(update(WebhookDelivery).values(next_attempt_at=past)))
    run(lambda s: s.execute(update(WebhookEndpoint).values(rests_until=None)))


def only(run: Run) -> WebhookDelivery:
    """Return the only delivery."""
    return run(lambda s: s.scalars(select(WebhookDelivery)).one())


def test_a_delivery_arrives_once_with_a_valid_signature(
    rules: Settings, buyer: User, run: Run, receiver: Receiver
) -> None:
    _id, secret = add(run, buyer, receiver.url("/hook?a=1"), rules)
    notify(run, buyer)
    notify(run, buyer)
    assert [webhooks.send_pending() for _ in range(2)] == [1, 0]
    ((headers, body),) = receiver.requests
    delivery = only(run)
    signed = f"{delivery.id}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"
    assert headers["webhook-id"] == str(delivery.id)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert receiver.paths == ["/hook?a=1"]
    facts = json.loads(body)
    assert (facts["id"], facts["type"], facts["data"]) == (str(delivery.id), "bonus", {"amount_znc": "5.00"})
    assert (delivery.state, delivery.status, delivery.answer) == (DeliveryState.DELIVERED, 200, "fine")
    stored = run(lambda s: s.scalars(select(WebhookEndpoint.secret)).one())
    assert secret not in stored


def test_only_subscribed_topics_are_sent(rules: Settings, buyer: User, run: Run, receiver: Receiver) -> None:
    add(run, buyer, receiver.url(), rules, Topic.BONUS, Topic.RENEWAL)
    off, _secret = add(run, buyer, receiver.url("/off"), rules)
    run(lambda s: endpoints.set_enabled(s, s.get_one(WebhookEndpoint, off), on=False, actor=PLATFORM))
    run(lambda s: notification_preferences.set_preference(s, buyer, Topic.RENEWAL, webhook=False))
    for kind in ("bonus", "payment", "renewed", "welcome"):
        notify(run, buyer, kind, kind)
    assert run(lambda s: s.scalars(select(WebhookDelivery.kind)).all()) == ["bonus"]


@pytest.mark.parametrize(
    "trouble",
    [
        ("hang", 200, "timeout"),
        ("drip head", 200, "timeout"),
        ("garbage", 200, "connection_failed"),
        ("endless head", 200, "connection_failed"),
        ("", 500, None),
        ("", 302, "redirected"),
    ],
)
def test_a_failing_receiver_is_retried_later(
    rules: Settings, buyer: User, run: Run, receiver: Receiver, trouble: tuple[str, int, str | None]
) -> None:
    behaviour, status, says = trouble
    add(run, buyer, receiver.url(), rules)
    notify(run, buyer)
    receiver.behaviour, receiver.status = behaviour, status
    began = time.monotonic()
    assert webhooks.send_pending() == 0
    assert time.monotonic() - began < 3
    failed = only(run)
    assert (failed.state, failed.attempts, failed.error) == (DeliveryState.WAITING, 1, says)
    assert failed.next_attempt_at > clock.now() + timedelta(seconds=10)
    assert receiver.paths == ["/hook"]
    receiver.behaviour, receiver.status = "", 200
    make_due(run)
    assert webhooks.send_pending() == 1
    assert len({headers["webhook-id"] for headers, _body in receiver.requests}) == 1


@pytest.mark.parametrize("behaviour", ["huge", "drip body"])
def test_only_the_start_of_a_long_or_slow_response_is_read(
    rules: Settings, buyer: User, run: Run, receiver: Receiver, behaviour: str
) -> None:
    add(run, buyer, receiver.url(), rules)
    notify(run, buyer)
    receiver.behaviour = behaviour
    began = time.monotonic()
    assert webhooks.send_pending() == 1
    assert time.monotonic() - began < 3
    answer = only(run).answer or ""
    assert set(answer) == {"a"}
    assert (len(answer) == deliveries.EXCERPT) is (behaviour == "huge")


def test_any_response_is_stored_as_text(rules: Settings, buyer: User, run: Run, receiver: Receiver) -> None:
    add(run, buyer, receiver.url(), rules)
    notify(run, buyer)
    receiver.answer = b"\xff\x00<script>"
    assert webhooks.send_pending() == 1
    assert only(run).answer == "��<script>"


def test_a_failing_endpoint_backs_off_and_does_not_block_others(
    rules: Settings, buyer: User, run: Run, receiver: Receiver
) -> None:
    with fake_webhook_receiver.running() as broken:
        broken.behaviour = "hang"
        add(run, buyer, broken.url(), rules)
        add(run, buyer, receiver.url(), rules)
        for key in "abcdef":
            notify(run, buyer, key=key)
        began = time.monotonic()
        assert webhooks.send_pending() == 6
        assert time.monotonic() - began < 2
        assert (len(broken.requests), len(receiver.requests)) == (1, 6)
        # The five that were not tried are unchanged; while their endpoint backs off, none is claimed.
        waiting = run(lambda s: s.scalars(select(WebhookDelivery).where(WebhookDelivery.delivered_at.is_(None))).all())
        assert sorted(delivery.attempts for delivery in waiting) == [0, 0, 0, 0, 0, 1]
        assert webhooks.send_pending() == 0
        assert len(broken.requests) == 1


def test_an_endpoint_that_fails_for_too_long_is_disabled_and_its_owner_notified(
    rules: Settings, buyer: User, run: Run, receiver: Receiver
) -> None:
    endpoint_id, _secret = add(run, buyer, receiver.url(), rules)
    run(lambda s: s.execute(delete(OutboxMail)))
    receiver.status = 500
    notify(run, buyer)
    for _ in range(7):
        make_due(run)
        webhooks.send_pending()
    assert len(receiver.requests) == 5
    endpoint = run(lambda s: s.get_one(WebhookEndpoint, endpoint_id))
    assert (endpoint.enabled, endpoint.disabled_at is not None) == (False, True)
    assert run(lambda s: s.scalars(select(OutboxMail.kind)).all()) == ["bonus", "webhook_disabled"]
    # Pending deliveries failed permanently; they are sent after the endpoint is enabled and they are resent.
    assert only(run).state is DeliveryState.DEAD
    assert run(lambda s: deliveries.resend(s, only(run).id, actor=PLATFORM)) is False
    run(lambda s: endpoints.set_enabled(s, s.get_one(WebhookEndpoint, endpoint_id), on=True, actor=PLATFORM))
    assert run(lambda s: deliveries.resend(s, only(run).id, actor=PLATFORM)) is True
    receiver.status = 200
    assert webhooks.send_pending() == 1


def test_an_endpoint_that_answers_410_is_disabled_at_once(
    rules: Settings, buyer: User, run: Run, receiver: Receiver
) -> None:
    endpoint_id, _secret = add(run, buyer, receiver.url(), rules)
    notify(run, buyer)
    receiver.status = 410
    webhooks.send_pending()
    assert run(lambda s: s.get_one(WebhookEndpoint, endpoint_id)).enabled is False


def test_a_delivery_fails_permanently_after_the_last_attempt(
    rules: Settings, buyer: User, run: Run, receiver: Receiver
) -> None:
    endpoint_id, _secret = add(run, buyer, receiver.url(), rules)
    receiver.status = 500
    notify(run, buyer)
    for _ in range(rules.webhooks.attempts):
        assert only(run).state is DeliveryState.WAITING
        make_due(run)
        run(lambda s: s.execute(update(WebhookEndpoint).values(failures=0)))
        webhooks.send_pending()
    assert (only(run).state, only(run).attempts) == (DeliveryState.DEAD, rules.webhooks.attempts)
    assert run(lambda s: s.get_one(WebhookEndpoint, endpoint_id)).enabled is True


def test_a_test_is_sent_whatever_the_endpoints_state_and_only_once(
    rules: Settings, buyer: User, run: Run, receiver: Receiver
) -> None:
    endpoint_id, _secret = add(run, buyer, receiver.url(), rules)
    run(lambda s: endpoints.set_enabled(s, s.get_one(WebhookEndpoint, endpoint_id), on=False, actor=PLATFORM))
    receiver.status = 500
    for _ in range(2):
        run(lambda s: deliveries.enqueue_test(s, s.get_one(WebhookEndpoint, endpoint_id)))
    webhooks.send_pending()
    tests = run(lambda s: s.scalars(select(WebhookDelivery)).all())
    assert {delivery.state for delivery in tests} == {DeliveryState.DEAD}
    assert len(receiver.requests) == len(tests) <= 2
    assert json.loads(receiver.requests[0][1])["type"] == "test"
    assert run(lambda s: s.get_one(WebhookEndpoint, endpoint_id)).failures == 0


def test_a_sender_that_dies_before_marking_sends_again_under_the_same_id(
    rules: Settings, buyer: User, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(run, buyer, receiver.url(), rules)
    notify(run, buyer)

    def dies(*_arguments: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "record", dies)
        with pytest.raises(SystemExit):
            webhooks.send_pending()
    assert webhooks.send_pending() == 0
    make_due(run)
    assert webhooks.send_pending() == 1
    first, second = (headers["webhook-id"] for headers, _body in receiver.requests)
    assert first == second


def test_two_senders_at_once_send_each_delivery_once(
    rules: Settings, buyer: User, run: Run, receiver: Receiver, shop: Committed
) -> None:
    add(run, buyer, receiver.url(), rules)
    for key in "abcd":
        notify(run, buyer, key=key)
    with shop[1]() as one, shop[1]() as other:
        held = {delivery.id for delivery in deliveries.claim(one, limit=2)}
        rest = {delivery.id for delivery in deliveries.claim(other)}
        assert (len(held), len(rest), held & rest) == (2, 2, set())


def test_an_endpoint_removed_while_it_is_sent_to_leaves_nothing(
    rules: Settings, buyer: User, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id, _secret = add(run, buyer, receiver.url(), rules)
    notify(run, buyer)
    really = http_post.post

    def removed_meanwhile(*arguments: Any) -> http_post.PostResponse:
        answer = really(*arguments)
        run(lambda s: endpoints.remove(s, s.get_one(WebhookEndpoint, endpoint_id), actor=PLATFORM))
        return answer

    monkeypatch.setattr(webhooks, "post", removed_meanwhile)
    assert webhooks.send_pending() == 1
    assert run(lambda s: s.scalars(select(WebhookDelivery)).all()) == []


def test_private_networks_are_refused_unless_allowed(
    rules: Settings, buyer: User, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(run, buyer, receiver.url(), rules)
    notify(run, buyer)
    strict = rules.model_copy(update={"webhooks": rules.webhooks.model_copy(update={"allow_private": False})})
    monkeypatch.setattr(context, "settings", lambda: strict)
    assert webhooks.send_pending() == 0
    assert only(run).error == "host_private"
    assert receiver.requests == []


@pytest.mark.usefixtures("rules")
def test_an_unresolvable_host_is_reported_before_anything_is_sent(
    run: Run, alice: User, rules: Settings, receiver: Receiver
) -> None:
    """A name under `.invalid` is never resolved (RFC 6761, 6.4): such an endpoint is not simply "on"."""
    lost, _secret = add(run, alice, "https://hooks.invalid/zenzefi", rules)
    found, _secret = add(run, alice, receiver.url(), rules)

    def errors(session: Session) -> list[str | None]:
        return [session.get_one(WebhookEndpoint, each).last_error for each in (lost, found)]

    for each in (lost, found, uuid.uuid4()):
        webhooks.check_address(str(each))
    assert run(errors) == ["host_unresolved", None]
    assert receiver.paths == []
    # A result about a former address is ignored for the new one.
    run(lambda session: endpoints.record_address_check(session, lost, "https://former.invalid/", None))
    assert run(errors)[0] is not None
