"""Webhook fan-out: a notification becomes a delivery for each of the user's endpoints that want its topic."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.notification_preferences import Topic
from models.services.notifications import wake_ups
from models.webhooks import WebhookDelivery, WebhookEndpoint

# A mail's greeting is no data for a program.
_FOR_MAILS = frozenset({"username"})


def enqueue_deliveries(
    session: Session, kind: str, topic: Topic, user_id: uuid.UUID, *, dedup_key: str, context: Mapping[str, Any]
) -> None:
    """Enqueue a delivery for each enabled endpoint that wants the topic; the same one is not enqueued twice."""
    wanted = select(WebhookEndpoint.id).where(
        WebhookEndpoint.user_id == user_id, WebhookEndpoint.enabled, WebhookEndpoint.topics.contains([topic.value])
    )
    endpoints = session.scalars(wanted).all()
    if endpoints:
        facts = {name: value for name, value in context.items() if name not in _FOR_MAILS}
        shared = {"kind": kind, "data": facts, "dedup_key": dedup_key}
        rows = [{"id": uuid.uuid4(), "endpoint_id": endpoint_id, **shared} for endpoint_id in endpoints]
        written = insert(WebhookDelivery).values(rows)
        session.execute(written.on_conflict_do_nothing(index_elements=["endpoint_id", "dedup_key"]))
        wake_ups.request(session, wake_ups.SEND_WEBHOOKS)
