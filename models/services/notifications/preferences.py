"""Notification preferences: what a user wants by mail and by webhook, and unsubscribe links that need no login."""

import uuid

from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.config.server import Portal
from models.notification_preferences import ALWAYS_MAILED, TOPICS, NotificationPreference, Topic
from models.services.errors import NotFound
from models.users import User

_EVERYTHING = (True, True)


def preferences_of(session: Session, user_id: uuid.UUID) -> dict[Topic, tuple[bool, bool]]:
    """Return for every topic whether the user wants mail and webhooks."""
    rows = session.scalars(select(NotificationPreference).where(NotificationPreference.user_id == user_id))
    made = {row.topic: (row.mail or row.topic in ALWAYS_MAILED, row.webhook) for row in rows}
    return {topic: made.get(topic, _EVERYTHING) for topic in Topic}


def is_wanted(session: Session, user_id: uuid.UUID, kind: str) -> tuple[bool, bool]:
    """Return whether a notification of this kind is sent by mail and by webhook.

    Account notifications are mail only.
    """
    topic = TOPICS.get(kind)
    if topic is None:
        return True, False
    made = session.get(NotificationPreference, (user_id, topic), populate_existing=True)
    if made is None:
        return _EVERYTHING
    return made.mail or topic in ALWAYS_MAILED, made.webhook


def set_preference(
    session: Session, user: User, topic: Topic, *, mail: bool | None = None, webhook: bool | None = None
) -> None:
    """Set a preference; None leaves it. Mandatory mails stay on."""
    changed = {name: value for name, value in (("mail", mail), ("webhook", webhook)) if value is not None}
    if topic in ALWAYS_MAILED:
        changed.pop("mail", None)
    if changed:
        row = {"mail": True, "webhook": True, **changed}
        made = insert(NotificationPreference).values(user_id=user.id, topic=topic, **row)
        session.execute(made.on_conflict_do_update(index_elements=["user_id", "topic"], set_=changed))


def unsubscribe_path(portal: Portal, user_id: uuid.UUID, kind: str) -> str | None:
    """Return the path of the unsubscribe link for this kind, or None for mandatory mails.

    The signature suffices: mail clients call it without a login (RFC 8058), and long afterwards.
    """
    topic = TOPICS.get(kind)
    if topic is None or topic in ALWAYS_MAILED:
        return None
    return f"/unsubscribe/{_signer(portal).dumps([str(user_id), topic.value])}"


def subscription(session: Session, portal: Portal, signed: str) -> tuple[User, Topic]:
    """Return the user and topic of an unsubscribe link. Raises NotFound for a forged one."""
    try:
        user_id, topic_name = _signer(portal).loads(signed)
    except BadSignature:
        raise NotFound("link") from None
    user = session.get(User, uuid.UUID(user_id))
    if user is None or topic_name not in set(Topic):
        raise NotFound("link")
    return user, Topic(topic_name)


def _signer(portal: Portal) -> URLSafeSerializer:
    return URLSafeSerializer(portal.secret_key.get_secret_value(), salt="unsubscribe")
