"""The webhooks of a buyer: adding, changing and removing endpoints."""

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
from models.webhooks import WebhookDelivery, WebhookEndpoint

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
    """Add an endpoint and return it with its secret, which nobody is shown again.

    Returns None when this user's endpoint of that id is there already: a form sent twice acts once. Raises
    InvalidInput for an address that may not be sent to, for no topic and for too many endpoints.
    """
    # The user's row is the lock that counts: two forms at the same instant make neither one endpoint too many nor the
    # same one twice.
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
        topics=checked_topics(topics),
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
    """Give an endpoint another address or other topics. Raises InvalidInput."""
    endpoint.url, endpoint.topics = url_policy.require_allowed(url, settings), checked_topics(topics)
    endpoint.failures, endpoint.rests_until, endpoint.last_error = 0, None, None
    _record(session, endpoint, actor, change="changed")


def replace_secret(session: Session, endpoint: WebhookEndpoint, *, seen: int, settings: Settings, actor: Actor) -> str:
    """Give an endpoint a new secret and return it; the old one signs nothing any more.

    `seen` is the generation that the owner saw: a form sent twice replaces once, and then raises RotatedAlready.
    """
    # The race: two copies of one form at the same instant. The row lock lets the second see the first's generation.
    session.refresh(endpoint, with_for_update=True)
    if seen != endpoint.generation:
        raise AlreadyRotated
    secret = signing.new_secret()
    endpoint.secret = _encrypted(secret, endpoint.id, settings)
    endpoint.generation += 1
    _record(session, endpoint, actor, change="secret replaced")
    return signing.mask_secret(secret)


def record_address_check(session: Session, endpoint_id: uuid.UUID, url: str, error: str | None) -> None:
    """Note whether the host of an endpoint's address can be found; a finding about a former address is dropped."""
    found = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.url == url)
    session.execute(found.values(last_error=error).execution_options(synchronize_session=False))


def set_enabled(session: Session, endpoint: WebhookEndpoint, *, on: bool, actor: Actor) -> None:
    """Switch an endpoint on or off; what waits for one that is off is given up, and can be sent again."""
    if endpoint.enabled is not on:
        endpoint.enabled, endpoint.disabled_at = on, None
        endpoint.failures, endpoint.rests_until = 0, None
        if not on:
            _fail_pending(session, endpoint)
        _record(session, endpoint, actor, change="switched on" if on else "switched off")


def disable(session: Session, endpoint: WebhookEndpoint) -> None:
    """Switch off an endpoint that has failed for too long, and write to its owner."""
    endpoint.enabled, endpoint.disabled_at = False, clock.now()
    _fail_pending(session, endpoint)
    _record(session, endpoint, PLATFORM, change="disabled after failures")
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
    """Remove an endpoint with the log of its deliveries."""
    _record(session, endpoint, actor, change="removed")
    session.delete(endpoint)
    session.flush()


def of_user(session: Session, user_id: uuid.UUID) -> list[WebhookEndpoint]:
    """Return a user's endpoints, oldest first; there are at most `AT_MOST`."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.user_id == user_id)
    return list(session.scalars(query.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id).limit(MAX_ENDPOINTS)))


def require_owned(session: Session, user: User, endpoint_id: uuid.UUID) -> WebhookEndpoint:
    """Return the user's endpoint. Raises NotFound, for a stranger's too."""
    endpoint = session.get(WebhookEndpoint, endpoint_id)
    if endpoint is None or endpoint.user_id != user.id:
        raise NotFound("webhook")
    return endpoint


def secret_of(endpoint: WebhookEndpoint, settings: Settings) -> bytes:
    """Return what signs for an endpoint. Raises SealBroken."""
    return encryption.decrypt(settings.portal, endpoint.secret, purpose=encryption.Purpose.WEBHOOK, owner=endpoint.id)


def _encrypted(secret: bytes, endpoint_id: uuid.UUID, settings: Settings) -> bytes:
    return encryption.encrypt(settings.portal, secret, purpose=encryption.Purpose.WEBHOOK, owner=endpoint_id)


def checked_topics(topics: Iterable[str]) -> list[str]:
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
        .values(dead_at=clock.now(), error="The webhook is disabled.")
    )


def _record(session: Session, endpoint: WebhookEndpoint, actor: Actor, *, change: str) -> None:
    resource = ("webhook", endpoint.id)
    facts = {"change": change, "url": endpoint.url}
    audit_log.record(session, AuditAction.WEBHOOK_CHANGED, actor, user_id=endpoint.user_id, resource=resource, **facts)
