"""Webhook deliveries: enqueued with their cause, claimed by one sender at a time, retried, failed permanently."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, contains_eager, joinedload

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound
from models.services.pagination import LOG_COUNT, ListQuery, Page, fetch_page
from models.services.webhooks import endpoints as webhook_endpoints
from models.webhooks import DeliveryError, DeliveryState, WebhookDelivery, WebhookEndpoint

# Longer than one run of the job.
LEASE = timedelta(minutes=5)
# Delay after the first failure, multiplied by four after each: the eighth attempt comes nearly a day after the first.
FIRST_RETRY_DELAY = timedelta(seconds=15)
# Maximum back-off of a failing endpoint; it doubles with each failure.
MAX_BACKOFF = timedelta(hours=1)
GONE = 410
EXCERPT = 500


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """Result of an attempt: status and start of the response, or the error."""

    milliseconds: int
    status: int | None = None
    answer: str | None = None
    error: DeliveryError | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def enqueue_test(session: Session, endpoint: WebhookEndpoint) -> None:
    """Enqueue a test delivery, at most one in ten seconds; it is tried once."""
    moment = clock.now()
    key = f"test:{moment:%Y-%m-%dT%H:%M}:{moment.second // 10}"
    facts: dict[str, Any] = {"message": "This is a test."}
    row = {"id": uuid.uuid4(), "endpoint_id": endpoint.id, "kind": "test", "data": facts, "is_test": True}
    session.execute(
        insert(WebhookDelivery)
        .values(**row, dedup_key=key, next_attempt_at=moment)
        .on_conflict_do_nothing(index_elements=["endpoint_id", "dedup_key"])
    )


def pending() -> Select[WebhookDelivery]:
    """Return the query for deliveries to be sent now; an endpoint that backs off or is disabled gets tests only."""
    now = clock.now()
    is_open = WebhookEndpoint.enabled & or_(WebhookEndpoint.rests_until.is_(None), WebhookEndpoint.rests_until <= now)
    return (
        select(WebhookDelivery)
        .join(WebhookDelivery.endpoint)
        .where(
            WebhookDelivery.delivered_at.is_(None),
            WebhookDelivery.dead_at.is_(None),
            WebhookDelivery.next_attempt_at <= now,
            or_(is_open, WebhookDelivery.is_test),
        )
    )


def claim(session: Session, *, limit: int = 60) -> list[WebhookDelivery]:
    """Claim pending deliveries with their endpoints, and postpone their next attempt.

    If a sender dies after the commit, the deliveries are due again when their lease ends.
    """
    waiting = (
        pending()
        .options(contains_eager(WebhookDelivery.endpoint))
        .order_by(WebhookDelivery.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=WebhookDelivery)
    )
    found = list(session.scalars(waiting))
    for delivery in found:
        delivery.attempts += 1
        delivery.next_attempt_at = clock.now() + LEASE
    session.flush()
    return found


def release(session: Session, delivery_id: uuid.UUID) -> None:
    """Release a delivery that was claimed and not tried."""
    back = {"attempts": WebhookDelivery.attempts - 1, "next_attempt_at": clock.now()}
    session.execute(update(WebhookDelivery).where(WebhookDelivery.id == delivery_id).values(back))


def record(session: Session, delivery_id: uuid.UUID, outcome: AttemptResult, settings: Settings) -> None:
    """Store the result of an attempt. Too many failures in a row, or a 410, disable the endpoint.

    The delivery may be gone, if its endpoint was removed meanwhile.
    """
    delivery = _locked(session, delivery_id)
    if delivery is None:
        return
    moment, endpoint = clock.now(), delivery.endpoint
    delivery.attempted_at, delivery.milliseconds = moment, outcome.milliseconds
    delivery.status, delivery.answer = outcome.status, outcome.answer
    delivery.error, delivery.error_details = outcome.error, dict(outcome.details)
    if outcome.is_success:
        delivery.delivered_at, delivery.dead_at = moment, None
        endpoint.failures, endpoint.rests_until, endpoint.last_error = 0, None, None
        return
    endpoint.last_error = outcome.error or DeliveryError.ERROR_STATUS
    endpoint.last_error_details = delivery.error_details
    if delivery.is_test or delivery.attempts >= settings.webhooks.attempts:
        delivery.dead_at = moment
    else:
        delivery.next_attempt_at = moment + FIRST_RETRY_DELAY * 4 ** (delivery.attempts - 1)
    if not delivery.is_test and endpoint.enabled:
        endpoint.failures += 1
        endpoint.rests_until = moment + min(FIRST_RETRY_DELAY * 2 ** min(endpoint.failures - 1, 8), MAX_BACKOFF)
        if endpoint.failures >= settings.webhooks.disable_after or outcome.status == GONE:
            session.flush()
            webhook_endpoints.disable(session, endpoint)


def resend(session: Session, delivery_id: uuid.UUID, *, actor: Actor, endpoint_id: uuid.UUID | None = None) -> bool:
    """Restart a permanently failed delivery under its id; return whether its endpoint is enabled.

    A pending or delivered one is left alone. Raises NotFound, also for another endpoint's delivery.
    """
    delivery = _locked(session, delivery_id)
    if delivery is None or endpoint_id not in {None, delivery.endpoint_id}:
        raise NotFound("delivery")
    if delivery.dead_at is not None and delivery.endpoint.enabled:
        delivery.dead_at, delivery.attempts, delivery.next_attempt_at = None, 0, clock.now()
        delivery.endpoint.rests_until = None
        owner, resource = delivery.endpoint.user_id, ("webhook", delivery.endpoint_id)
        audit_log.record(session, AuditAction.WEBHOOK_SENT_AGAIN, actor, user_id=owner, resource=resource)
    return delivery.endpoint.enabled


def of_endpoint(
    session: Session, endpoint_id: uuid.UUID, *, dead_only: bool, limit: int, offset: int
) -> Page[WebhookDelivery]:
    """Return a page of an endpoint's deliveries, newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
    if dead_only:
        query = query.where(WebhookDelivery.dead_at.is_not(None))
    order = (WebhookDelivery.created_at.desc(), WebhookDelivery.id)
    return fetch_page(session, query, order=order, limit=limit, offset=offset, count_to=LOG_COUNT)


def list_deliveries(state: DeliveryState) -> ListQuery[WebhookDelivery]:
    """Return the list of all deliveries in a state, for admins."""
    query = select(WebhookDelivery).options(
        joinedload(WebhookDelivery.endpoint, innerjoin=True).joinedload(WebhookEndpoint.user, innerjoin=True)
    )
    order: Any
    match state:
        case DeliveryState.WAITING:
            query = query.where(WebhookDelivery.delivered_at.is_(None), WebhookDelivery.dead_at.is_(None))
            order = WebhookDelivery.next_attempt_at
        case DeliveryState.DEAD:
            query, order = query.where(WebhookDelivery.dead_at.is_not(None)), WebhookDelivery.dead_at.desc()
        case DeliveryState.DELIVERED:
            query, order = query.where(WebhookDelivery.delivered_at.is_not(None)), WebhookDelivery.delivered_at.desc()
    return ListQuery(query, (order, WebhookDelivery.id))


def delete_before(session: Session, moment: datetime) -> int:
    """Delete deliveries finished or failed before `moment`; return the number deleted."""
    gone = or_(WebhookDelivery.delivered_at < moment, WebhookDelivery.dead_at < moment)
    return len(session.execute(delete(WebhookDelivery).where(gone).returning(WebhookDelivery.id)).all())


def _locked(session: Session, delivery_id: uuid.UUID) -> WebhookDelivery | None:
    """Lock a delivery's endpoint and then the delivery; None when it is gone.

    Lock order: endpoint before deliveries, as in every change of an endpoint; another order could deadlock.
    """
    endpoint = session.scalars(
        select(WebhookEndpoint)
        .join(WebhookDelivery, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
        .where(WebhookDelivery.id == delivery_id)
        .with_for_update(of=WebhookEndpoint, key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if endpoint is None:
        return None
    return session.get(WebhookDelivery, delivery_id, with_for_update=True, populate_existing=True)
