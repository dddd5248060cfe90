"""Broadcast: notify every user who wants it, with one statement for all mails and one for all webhooks."""

from typing import Any

from sqlalchemy import and_, bindparam, exists, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from models.notification_preferences import TOPICS, NotificationPreference
from models.outbox import OutboxMail
from models.services.notifications.outbox import UNDELIVERABLE_SUFFIX
from models.users import User
from models.webhooks import WebhookDelivery, WebhookEndpoint


def enqueue_for_all(session: Session, kind: str, *, dedup_key: str, **context: Any) -> int:
    """Enqueue a notification with a topic for every active user; return the number of mails.

    With the same `dedup_key` nothing is enqueued twice, so a job that died half-way can simply run again. Users with an
    unconfirmed address get no mail.
    """
    topic = TOPICS[kind]
    facts = bindparam(None, context, type_=JSONB)
    refused = and_(NotificationPreference.user_id == User.id, NotificationPreference.topic == topic)
    mails = select(
        func.gen_random_uuid(),
        literal(kind),
        User.id,
        User.email,
        facts.op("||")(func.jsonb_build_object("username", User.username)),
        func.concat(dedup_key, ":", User.id),
    ).where(
        User.is_active,
        ~User.awaits_confirmation,
        ~User.email.endswith(UNDELIVERABLE_SUFFIX),
        ~exists().where(refused, ~NotificationPreference.mail),
    )
    columns = ["id", "kind", "user_id", "recipient", "context", "dedup_key"]
    written = session.scalars(
        insert(OutboxMail)
        .from_select(columns, mails)
        .on_conflict_do_nothing(index_elements=["dedup_key"])
        .returning(literal(1))
    )
    count = sum(written)
    posts = (
        select(func.gen_random_uuid(), WebhookEndpoint.id, literal(kind), facts, literal(dedup_key))
        .join(User, User.id == WebhookEndpoint.user_id)
        .where(
            User.is_active,
            WebhookEndpoint.enabled,
            WebhookEndpoint.topics.contains([topic.value]),
            ~exists().where(refused, ~NotificationPreference.webhook),
        )
    )
    columns = ["id", "endpoint_id", "kind", "data", "dedup_key"]
    session.execute(
        insert(WebhookDelivery)
        .from_select(columns, posts)
        .on_conflict_do_nothing(index_elements=["endpoint_id", "dedup_key"])
    )
    return count
