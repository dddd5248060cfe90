"""Webhook endpoints of a user: add, change, enable, remove."""

import uuid
from collections.abc import Iterable

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.notification_preferences import Topic
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.crypto import encryption
from models.services.errors import AlreadyRotated, InvalidInput, NotFound
from models.services.notifications import outbox
from models.services.webhooks import signing, url_policy
from models.users import User
from models.webhooks import DeliveryError, WebhookDelivery, WebhookEndpoint

MAX_ENDPOINTS = 5


def create(
    session: Session,
    user: User,
    endpoint_id: uuid.UUID,
    *,
    url: str,
    topics: Iterable[str],
    settings: Settings,
    actor: Actor,
) -> tuple[WebhookEndpoint, str] | None:
    """Create an endpoint and return it with its secret, which is shown once.

    Returns None when the user has an endpoint with that id: a form sent twice acts once. Raises InvalidInput for a
    forbidden address, no topic or too many endpoints.
    """
    # The user's row lock serialises concurrent forms: neither too many endpoints nor the same one twice.
    session.execute(select(User.id).where(User.id == user.id).with_for_update(key_share=True))
    if (there := session.get(WebhookEndpoint, endpoint_id)) is not None:
        if there.user_id != user.id:
            raise NotFound("webhook")
        return None
    count = session.scalar(select(func.count()).where(WebhookEndpoint.user_id == user.id)) or 0
    if count >= MAX_ENDPOINTS:
        raise InvalidInput("url", "webhook_limit_reached")
    secret = signing.new_secret()
    endpoint = WebhookEndpoint(
        id=endpoint_id,
        user=user,
        url=url_policy.require_allowed(url, settings),
        secret=_encrypted(secret, endpoint_id, settings),
        topics=validate_topics(topics),
    )
    session.add(endpoint)
    session.flush()
    _record(session, endpoint, actor, change="added")
    return endpoint, signing.mask_secret(secret)


def change(
    session: Session,
    endpoint: WebhookEndpoint,
    *,
    url: str,
    topics: Iterable[str],
    settings: Settings,
    actor: Actor,
) -> None:
    """Change an endpoint's address or topics. Raises InvalidInput."""
    endpoint.url, endpoint.topics = url_policy.require_allowed(url, settings), validate_topics(topics)
    endpoint.failures, endpoint.rests_until, endpoint.last_error = 0, None, None
    _record(session, endpoint, actor, change="changed")


def replace_secret(session: Session, endpoint: WebhookEndpoint, *, seen: int, settings: Settings, actor: Actor) -> str:
    """Replace an endpoint's secret and return the new one; the old one is no longer used.

    `seen` is the generation that the owner saw: a form sent twice replaces once, and then raises AlreadyRotated.
    """
    # Race: two copies of one form. The row lock lets the second see the first's generation.
    session.refresh(endpoint, with_for_update=True)
    if seen != endpoint.generation:
        raise AlreadyRotated
    secret = signing.new_secret()
    endpoint.secret = _encrypted(secret, endpoint.id, settings)
    endpoint.generation += 1
    _record(session, endpoint, actor, change="secret_replaced")
    return signing.mask_secret(secret)


def record_address_check(
    session: Session, endpoint_id: uuid.UUID, url: str, failure: url_policy.Unreachable | None
) -> None:
    """Store whether an endpoint's host could be resolved; a result about a former address is dropped."""
    found = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.url == url)
    error, details = (failure.error, failure.details) if failure else (None, {})
    session.execute(
        found.values(last_error=error, last_error_details=details).execution_options(synchronize_session=False)
    )


def set_enabled(session: Session, endpoint: WebhookEndpoint, *, on: bool, actor: Actor) -> None:
    """Enable or disable an endpoint; pending deliveries of a disabled one fail permanently and can be sent again."""
    if endpoint.enabled is not on:
        endpoint.enabled, endpoint.disabled_at = on, None
        endpoint.failures, endpoint.rests_until = 0, None
        if not on:
            _fail_pending(session, endpoint)
        _record(session, endpoint, actor, change="switched_on" if on else "switched_off")


def disable(session: Session, endpoint: WebhookEndpoint) -> None:
    """Disable an endpoint that has failed for too long, and notify its owner."""
    endpoint.enabled, endpoint.disabled_at = False, clock.now()
    _fail_pending(session, endpoint)
    _record(session, endpoint, PLATFORM, change="disabled_after_failures")
    outbox.enqueue_mail(
        session,
        "webhook_disabled",
        endpoint.user,
        dedup_key=f"webhook_disabled:{endpoint.id}:{endpoint.disabled_at:%Y-%m-%dT%H}",
        username=endpoint.user.username,
        endpoint_id=str(endpoint.id),
        url=endpoint.url,
        failures=endpoint.failures,
    )


def remove(session: Session, endpoint: WebhookEndpoint, *, actor: Actor) -> None:
    """Remove an endpoint with its deliveries."""
    _record(session, endpoint, actor, change="removed")
    session.delete(endpoint)
    session.flush()


def of_user(session: Session, user_id: uuid.UUID) -> list[WebhookEndpoint]:
    """Return a user's endpoints, oldest first; there are at most `MAX_ENDPOINTS`."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.user_id == user_id)
    return list(session.scalars(query.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id).limit(MAX_ENDPOINTS)))


def require_owned(session: Session, user: User, endpoint_id: uuid.UUID) -> WebhookEndpoint:
    """Return the user's endpoint. Raises NotFound, also for another user's."""
    endpoint = session.get(WebhookEndpoint, endpoint_id)
    if endpoint is None or endpoint.user_id != user.id:
        raise NotFound("webhook")
    return endpoint


def secret_of(endpoint: WebhookEndpoint, settings: Settings) -> bytes:
    """Return an endpoint's signing secret. Raises DecryptionError."""
    return encryption.decrypt(settings.portal, endpoint.secret, purpose=encryption.Purpose.WEBHOOK, owner=endpoint.id)


def _encrypted(secret: bytes, endpoint_id: uuid.UUID, settings: Settings) -> bytes:
    return encryption.encrypt(settings.portal, secret, purpose=encryption.Purpose.WEBHOOK, owner=endpoint_id)


def validate_topics(topics: Iterable[str]) -> list[str]:
    known: list[str] = [topic.value for topic in Topic if topic.value in set(topics)]
    if not known:
        raise InvalidInput("topics", "webhook_topics_empty")
    return known


def _fail_pending(session: Session, endpoint: WebhookEndpoint) -> None:
    session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id == endpoint.id,
            WebhookDelivery.delivered_at.is_(None),
            WebhookDelivery.dead_at.is_(None),
            WebhookDelivery.is_test.is_(False),
        )
        .values(dead_at=clock.now(), error=DeliveryError.ENDPOINT_DISABLED, error_details={})
    )


def _record(session: Session, endpoint: WebhookEndpoint, actor: Actor, *, change: str) -> None:
    resource = ("webhook", endpoint.id)
    facts = {"change": change, "url": endpoint.url}
    audit_log.record(session, AuditAction.WEBHOOK_CHANGED, actor, user_id=endpoint.user_id, resource=resource, **facts)
