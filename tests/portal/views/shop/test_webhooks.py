"""Webhooks in the portal: the secret is shown once, the log is text, and a stranger finds nothing."""

import re
import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.notification_preferences import Topic
from models.services.actor import Actor
from models.services.webhooks import deliveries
from models.services.webhooks import endpoints as webhook_endpoints
from models.users import User
from models.webhooks import WebhookDelivery, WebhookEndpoint
from tests.factories import actions
from tests.portal.conftest import Browser, Jobs

URL = "https://hooks.example.org/zenzefi"


def hook(session: Session, user: User, settings: Settings) -> tuple[uuid.UUID, uuid.UUID]:
    """Give a user a webhook with one delivery that failed permanently; return the ids of both."""
    facts: dict[str, Any] = {"topics": [Topic.BONUS], "settings": settings, "actor": Actor(user.id)}
    made = webhook_endpoints.create(session, user, uuid.uuid4(), url=URL, **facts)
    assert made is not None
    delivery = WebhookDelivery(
        endpoint=made[0],
        kind="bonus",
        data={"amount_znc": "5.00"},
        dedup_key="a",
        attempts=8,
        status=500,
        answer="<script>alert(1)</script>",
        milliseconds=12,
        attempted_at=clock.now(),
        dead_at=clock.now(),
    )
    session.add(delivery)
    session.flush()
    return made[0].id, delivery.id


def add(browser: Browser, **changes: Any) -> Any:
    """Send the form for a new webhook."""
    return browser.post(
        "/webhooks", **{"endpoint_id": uuid.uuid4(), "url": URL, "topic": ["bonus", "renewal"], **changes}
    )


def test_the_secret_is_shown_once_and_a_form_sent_twice_makes_one(as_alice: Browser, session: Session) -> None:
    key = uuid.uuid4()
    shown = add(as_alice, endpoint_id=key)
    assert re.search(r'data-testid="webhook-secret">whsec_[A-Za-z0-9+/]{43}=<', shown.text)
    assert add(as_alice, endpoint_id=key).location == f"/webhooks/{key}"
    endpoint = session.scalars(select(WebhookEndpoint)).one()
    assert (endpoint.url, endpoint.topics) == (URL, ["renewal", "bonus"])
    page = as_alice.get(f"/webhooks/{key}").text
    assert "whsec_" not in page
    assert page.count("checked") == 2
    assert actions(session)[-1] is AuditAction.WEBHOOK_CHANGED


def test_a_webhooks_secret_is_rotated_once_after_a_confirmation(
    as_alice: Browser, as_charlie: Browser, session: Session, alice: User, settings: Settings
) -> None:
    """A reload of the page with the new secret must not replace it again under the receiver's feet."""
    endpoint_id, _delivery = hook(session, alice, settings)
    session.commit()
    path = f"/webhooks/{endpoint_id}/secret"
    endpoint = session.get_one(WebhookEndpoint, endpoint_id)
    first = endpoint.secret
    assert f'href="{path}"' in as_alice.get(f"/webhooks/{endpoint_id}").text
    seen = re.search(r'name="seen" value="(\d+)"', as_alice.get(path).text)
    assert seen is not None
    assert "whsec_" in as_alice.post(path, seen=seen[1]).text
    session.refresh(endpoint)
    second = endpoint.secret
    assert second != first
    for again in ({"seen": seen[1]}, {}, {"seen": "x"}):
        assert as_alice.post(path, **again).location == f"/webhooks/{endpoint_id}"
    session.refresh(endpoint)
    assert endpoint.secret == second
    assert as_charlie.get(path).status_code == 404
    assert as_charlie.post(path, seen="2").status_code == 404


def test_a_webhook_is_deleted_after_a_confirmation(
    as_alice: Browser, as_charlie: Browser, session: Session, alice: User, settings: Settings
) -> None:
    endpoint_id, _delivery = hook(session, alice, settings)
    session.commit()
    path = f"/webhooks/{endpoint_id}/remove"
    assert f'href="{path}"' in as_alice.get(f"/webhooks/{endpoint_id}").text
    assert f'action="{path}"' in as_alice.get(path).text
    assert session.scalars(select(WebhookEndpoint.id)).all() == [endpoint_id]
    assert as_charlie.get(path).status_code == 404


def test_an_address_in_a_private_network_is_refused_with_the_reason(
    as_alice: Browser, session: Session, alice: User, settings: Settings
) -> None:
    for bad in ("", "https://127.0.0.1/", "https://[::1]/", "https://localhost/", "gopher://x", "https://x:22/"):
        assert add(as_alice, url=bad).status_code == 400
    assert "private network" in add(as_alice, url="https://10.0.0.1/").text
    assert add(as_alice, topic=[]).status_code == 400
    assert add(as_alice, topic=["nothing"]).status_code == 400
    assert session.scalars(select(WebhookEndpoint)).all() == []
    endpoint_id, _delivery = hook(session, alice, settings)
    session.commit()
    assert as_alice.post(f"/webhooks/{endpoint_id}", url="https://10.0.0.1/", topic="bonus").status_code == 400
    assert session.scalars(select(WebhookEndpoint.url)).all() == [URL]
    assert as_alice.post(f"/webhooks/{endpoint_id}", url=f"{URL}/2", topic="payment").status_code == 303
    assert session.scalars(select(WebhookEndpoint.topics)).all() == [["payment"]]


def test_there_are_five_webhooks_at_most(as_alice: Browser) -> None:
    assert [add(as_alice).status_code for _ in range(6)] == [200] * 5 + [400]
    assert "You have reached the limit of webhooks" in as_alice.get("/webhooks").text


def test_the_delivery_log_shows_responses_as_text_and_resends(
    as_alice: Browser, session: Session, alice: User, settings: Settings, queued: Jobs
) -> None:
    endpoint_id, delivery_id = hook(session, alice, settings)
    session.commit()
    page = as_alice.get(f"/webhooks/{endpoint_id}?show=dead").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert 'data-state="dead"' in page
    assert as_alice.post(f"/webhooks/{endpoint_id}/deliveries/{delivery_id}/again").status_code == 303
    delivery = session.get_one(WebhookDelivery, delivery_id, populate_existing=True)
    assert (delivery.dead_at, delivery.attempts) == (None, 0)
    assert queued == [("jobs.webhooks.send_pending",)]
    assert 'data-state="dead"' not in as_alice.get(f"/webhooks/{endpoint_id}?show=dead").text


def test_a_test_event_is_enqueued_and_a_webhook_is_disabled_and_deleted(
    as_alice: Browser, session: Session, alice: User, settings: Settings, queued: Jobs
) -> None:
    endpoint_id, _delivery = hook(session, alice, settings)
    session.commit()
    as_alice.post(f"/webhooks/{endpoint_id}/test")
    assert queued == [("jobs.webhooks.send_pending",)]
    page = as_alice.get(f"/webhooks/{endpoint_id}").text
    assert 'data-state="waiting"' in page
    assert "data-refresh" in page
    as_alice.post(f"/webhooks/{endpoint_id}/switch", on="0")
    assert session.get_one(WebhookEndpoint, endpoint_id, populate_existing=True).enabled is False
    as_alice.post(f"/webhooks/{endpoint_id}/switch", on="1")
    assert session.get_one(WebhookEndpoint, endpoint_id, populate_existing=True).enabled is True
    as_alice.post(f"/webhooks/{endpoint_id}/remove")
    session.expire_all()
    assert session.scalars(select(WebhookDelivery)).all() == []


def test_one_webhooks_delivery_is_not_found_under_another(
    as_charlie: Browser, session: Session, alice: User, charlie: User, settings: Settings
) -> None:
    own, _own_delivery = hook(session, charlie, settings)
    _theirs, delivery = hook(session, alice, settings)
    session.commit()
    assert as_charlie.post(f"/webhooks/{own}/deliveries/{delivery}/again").status_code == 404
    # Another user's id cannot be used for a new webhook.
    assert add(as_charlie, endpoint_id=_theirs).status_code == 404


def test_an_admin_sees_and_resends_dead_letters(
    as_dana: Browser, session: Session, alice: User, settings: Settings, queued: Jobs
) -> None:
    endpoint_id, delivery_id = hook(session, alice, settings)
    session.commit()
    page = as_dana.get("/admin/webhooks").text
    assert str(delivery_id) in page
    assert alice.email in page
    assert "format=csv" in page
    [line] = as_dana.get("/admin/webhooks?format=csv").text.splitlines()[1:]
    assert line.startswith(f"{delivery_id},{alice.email},https://")
    assert as_dana.post(f"/admin/webhooks/{delivery_id}/again", next="/admin/webhooks?state=dead").status_code == 303
    assert queued == [("jobs.webhooks.send_pending",)]
    assert str(delivery_id) in as_dana.get("/admin/webhooks?state=waiting").text
    assert actions(session)[-1] is AuditAction.WEBHOOK_SENT_AGAIN
    delivery = session.get_one(WebhookDelivery, delivery_id)
    delivery.delivered_at = clock.now() - timedelta(days=40)
    session.commit()
    assert str(delivery_id) in as_dana.get("/admin/webhooks?state=delivered").text
    assert deliveries.delete_before(session, clock.now() - timedelta(days=30)) == 1
    assert session.get_one(WebhookEndpoint, endpoint_id).enabled


def test_an_unreachable_webhook_shows_the_reason_and_its_address_is_checked_on_saving(
    as_alice: Browser, session: Session, alice: User, settings: Settings, queued: Jobs
) -> None:
    key = uuid.uuid4()
    add(as_alice, endpoint_id=key)
    as_alice.post(f"/webhooks/{key}", url=f"{URL}/2", topic="payment")
    assert queued == [("jobs.webhooks.check_address", str(key))] * 2
    endpoint = session.get_one(WebhookEndpoint, key)
    assert ">on<" in as_alice.get("/webhooks").text
    endpoint.last_error = "host_unresolved"
    session.commit()
    for page in (as_alice.get("/webhooks").text, as_alice.get(f"/webhooks/{key}").text):
        assert ">failing<" in page
        assert "The host name cannot be resolved." in page
        assert ">on<" not in page
