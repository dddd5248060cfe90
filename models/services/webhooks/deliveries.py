"""Deliveries to webhooks: written with what causes them, claimed by one sender at a time, tried again, given up."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
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
from models.webhooks import DeliveryState, WebhookDelivery, WebhookEndpoint

# Longer than one run of the job can take.
LEASE = timedelta(minutes=5)
# After the first failure, then four times as long after each: the eighth attempt comes nearly a day after the first.
FIRST_RETRY_DELAY = timedelta(seconds=15)
# An endpoint that fails is left in peace for twice as long after each failure, an hour at most.
MAX_BACKOFF = timedelta(hours=1)
GONE = 410
EXCERPT = 500


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of an attempt: a status and the start of the answer, or why there is none."""

    milliseconds: int
    status: int | None = None
    answer: str | None = None
    error: str | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def enqueue_test(session: Session, endpoint: WebhookEndpoint) -> None:
    """Leave a test delivery, one in ten seconds at most; it is tried once."""
    moment = clock.now()
    key = f"test:{moment:%Y-%m-%dT%H:%M}:{moment.second // 10}"
    facts: dict[str, Any] = {"message": "This is a test."}
    row = {"id": uuid.uuid4(), "endpoint_id": endpoint.id, "kind": "test", "data": facts, "is_test": True}
    session.execute(
        insert(WebhookDelivery)
        .values(**row, dedup_key=key, next_attempt_at=moment)
        .on_conflict_do_nothing(index_elements=["endpoint_id", "dedup_key"])
    )


def claim(session: Session, *, limit: int = 60) -> list[WebhookDelivery]:
    """Take waiting deliveries, with their endpoints, and push their next attempt away.

    A sender that dies after this commits loses nothing: a delivery is due again when its lease ends. An endpoint that
    rests after a failure, or is switched off, gets tests only.
    """
    now = clock.now()
    is_open = WebhookEndpoint.enabled & or_(WebhookEndpoint.rests_until.is_(None), WebhookEndpoint.rests_until <= now)
    waiting = (
        select(WebhookDelivery)
        .join(WebhookDelivery.endpoint)
        .options(contains_eager(WebhookDelivery.endpoint))
        .where(
            WebhookDelivery.delivered_at.is_(None),
            WebhookDelivery.dead_at.is_(None),
            WebhookDelivery.next_attempt_at <= now,
            or_(is_open, WebhookDelivery.is_test),
        )
        .order_by(WebhookDelivery.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=WebhookDelivery)
    )
    found = list(session.scalars(waiting))
    for delivery in found:
        delivery.attempts += 1
        delivery.next_attempt_at = now + LEASE
    session.flush()
    return found


def release(session: Session, delivery_id: uuid.UUID) -> None:
    """Put back a delivery that was claimed and not tried."""
    back = {"attempts": WebhookDelivery.attempts - 1, "next_attempt_at": clock.now()}
    session.execute(update(WebhookDelivery).where(WebhookDelivery.id == delivery_id).values(back))


def record(session: Session, delivery_id: uuid.UUID, outcome: AttemptResult, settings: Settings) -> None:
    """Keep what came of an attempt. Too many failures in a row, or a 410, switch the endpoint off.

    A delivery whose endpoint was removed meanwhile is gone with it.
    """
    delivery = _locked(session, delivery_id)
    if delivery is None:
        return
    moment, endpoint = clock.now(), delivery.endpoint
    delivery.attempted_at, delivery.milliseconds = moment, outcome.milliseconds
    delivery.status, delivery.answer, delivery.error = outcome.status, outcome.answer, outcome.error
    if outcome.is_success:
        delivery.delivered_at, delivery.dead_at = moment, None
        endpoint.failures, endpoint.rests_until, endpoint.last_error = 0, None, None
        return
    endpoint.last_error = outcome.error or "The receiver answered with an error."
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
    """Let a delivery that was given up start anew, under its old id; says whether its endpoint is on.

    One that waits or arrived is left alone. Raises NotFound, also when it is not of the endpoint that is named.
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
    """Return a page of an endpoint's log, newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
    if dead_only:
        query = query.where(WebhookDelivery.dead_at.is_not(None))
    order = (WebhookDelivery.created_at.desc(), WebhookDelivery.id)
    return fetch_page(session, query, order=order, limit=limit, offset=offset, count_to=LOG_COUNT)


def list_deliveries(state: DeliveryState) -> ListQuery[WebhookDelivery]:
    """Return the list of everybody's deliveries by where they stand, for the office."""
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
    """Delete deliveries that arrived, or were given up, before `moment`; returns how many went."""
    gone = or_(WebhookDelivery.delivered_at < moment, WebhookDelivery.dead_at < moment)
    return len(session.execute(delete(WebhookDelivery).where(gone).returning(WebhookDelivery.id)).all())


def _locked(session: Session, delivery_id: uuid.UUID) -> WebhookDelivery | None:
    """Lock a delivery's endpoint, and then the delivery; None when it is gone.

    Whoever changes an endpoint goes on to its deliveries: two orders would be a deadlock.
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
