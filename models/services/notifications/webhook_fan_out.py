"""A notice goes to the webhooks of its user that want its topic; `outbox.write` calls this beside the mail."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.notification_preferences import Topic
from models.webhooks import WebhookDelivery, WebhookEndpoint

# How a mail greets its reader is no fact for a program.
_FOR_MAILS = frozenset({"username"})


def enqueue_deliveries(
    session: Session, kind: str, topic: Topic, user_id: uuid.UUID, *, dedup_key: str, context: Mapping[str, Any]
) -> None:
    """Leave a delivery for each endpoint that is on and wants the topic; the same notice is not written twice."""
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
