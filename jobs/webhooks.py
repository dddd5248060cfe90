"""Webhook delivery job: sends pending deliveries.

Endpoints are served in parallel, each in order. A failing endpoint backs off (models/services/webhooks/deliveries.py),
so a hanging receiver costs one thread its time-out now and then.
"""

import logging
import ssl
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from urllib.parse import urlsplit

from jobs import context
from jobs.http_post import PostLimits, post
from models import clock
from models.config.settings import Settings
from models.services.crypto.encryption import DecryptionError
from models.services.webhooks import deliveries, signing
from models.services.webhooks import endpoints as webhook_endpoints
from models.services.webhooks.deliveries import EXCERPT, AttemptResult
from models.services.webhooks.url_policy import WEB_PORTS_BY_SCHEME, Unreachable, addresses
from models.webhooks import DeliveryError, WebhookDelivery, WebhookEndpoint

logger = logging.getLogger(__name__)

MAX_THREADS = 16
# No request starts after this many seconds of a run, so that other jobs get their turn.
RUN_SECONDS = 15.0


def send_pending() -> int:
    """Send pending deliveries batch by batch, each recorded in its own transaction; return the number delivered.

    After a crash between sending and recording, the delivery is sent again when its lease ends, with the same
    `webhook-id`.
    """
    settings, ends = context.settings(), time.monotonic() + RUN_SECONDS
    arrived = 0
    with ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="webhook") as threads:
        while time.monotonic() < ends:
            with context.sessions().begin() as session:
                found = deliveries.claim(session)
            if not found:
                break
            by_endpoint: dict[uuid.UUID, list[WebhookDelivery]] = defaultdict(list)
            for delivery in found:
                by_endpoint[delivery.endpoint_id].append(delivery)
            results: Counter[str] = Counter()
            for outcomes in threads.map(lambda batch: _serve(batch, settings, ends), by_endpoint.values()):
                results += outcomes
            context.count(Counter({f"notices_sent|webhook|{result}": count for result, count in results.items()}))
            arrived += results["sent"]
    return arrived


def check_address(endpoint_id: str) -> None:
    """Resolve the host of a new endpoint, so that its owner learns at once when it is unreachable.

    Nothing is sent. It is a job because a slow name server would block a thread of the portal.
    """
    with context.sessions().begin() as session:
        endpoint = session.get(WebhookEndpoint, uuid.UUID(endpoint_id))
        if endpoint is None:
            return
        url = endpoint.url
    parts, failure = urlsplit(url), None
    port = parts.port or WEB_PORTS_BY_SCHEME[parts.scheme]
    try:
        addresses(parts.hostname or "", port, allow_private=context.settings().webhooks.allow_private)
    except Unreachable as unreachable:
        failure = unreachable
    with context.sessions().begin() as session:
        webhook_endpoints.record_address_check(session, endpoint.id, url, failure)


def _serve(batch: Sequence[WebhookDelivery], settings: Settings, ends: float) -> Counter[str]:
    """Send one endpoint's deliveries until one fails or the run ends; release the rest."""
    results: Counter[str] = Counter()
    stopped = False
    for delivery in batch:
        if stopped or time.monotonic() > ends:
            with context.sessions().begin() as session:
                deliveries.release(session, delivery.id)
            continue
        outcome = _send(delivery, settings)
        with context.sessions().begin() as session:
            deliveries.record(session, delivery.id, outcome, settings)
        results["sent" if outcome.is_success else "failed"] += 1
        stopped = not outcome.is_success
    return results


def _send(delivery: WebhookDelivery, settings: Settings) -> AttemptResult:
    rules = settings.webhooks
    body = signing.body_of(str(delivery.id), delivery.kind, delivery.created_at, delivery.data)
    began = time.monotonic()
    try:
        secret = webhook_endpoints.secret_of(delivery.endpoint, settings)
        headers = signing.headers(secret, str(delivery.id), body, clock.now())
        headers["Content-Type"] = "application/json"
        bounds = PostLimits(rules.timeout_seconds, EXCERPT, rules.allow_private)
        response = post(delivery.endpoint.url, body, headers, bounds, _trust())
    except Unreachable as error:
        return AttemptResult(_since(began), error=error.error, details=error.details)
    except DecryptionError:
        return AttemptResult(_since(began), error=DeliveryError.SECRET_UNREADABLE)
    logger.info("webhook %s: %s", delivery.id, response.status)
    refused = DeliveryError.REDIRECTED if 300 <= response.status < 400 else None
    text = response.start.decode("utf-8", "replace").replace("\0", "�")
    return AttemptResult(_since(began), status=response.status, answer=text[:EXCERPT], error=refused)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


@cache
def _trust() -> ssl.SSLContext:
    """The system's certificate authorities, loaded once per process."""
    return ssl.create_default_context()
