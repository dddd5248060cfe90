"""Callbacks of payment providers: verify, store, settle, respond."""

import logging
import uuid
from collections.abc import Mapping
from typing import cast

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models import clock
from models.services.errors import DomainError
from models.services.payments import callbacks, providers, settlement, status_checks
from models.services.payments.providers import Callback, StatusHint
from portal.request import context

logger = logging.getLogger(__name__)

blueprint = Blueprint("payment_callbacks", __name__, url_prefix="/api/v1/webhooks")

# Real callbacks have a few kilobytes; a form's limit is larger.
MAX_CALLBACK_BYTES = 64 * 1024


@blueprint.post("/payment", defaults={"provider": "mock"})
@blueprint.post("/payment/<provider>")
def receive(provider: str) -> Response:
    """Store a signed callback once; `processed` is false for a repeated one.

    For an unsigned callback, a job queries its provider. CallbackRefused becomes 400 and changes nothing, NotFound (a
    provider without keys) becomes 404.
    """
    request.max_content_length = MAX_CALLBACK_BYTES
    headers = cast(Mapping[str, str], request.headers)
    callback = Callback(headers, request.get_data(), clock.now(), request.remote_addr or "")
    report = providers.known(provider, context.settings()).verify(callback)
    if report is None:
        return jsonify(received=True, processed=False)
    if isinstance(report, StatusHint):
        _schedule_status_check(provider, report)
        return jsonify(received=True, processed=False)
    with context.transaction() as session:
        stored = callbacks.store_event(session, provider, report)
    if stored is not None:
        _settle(stored)
    return jsonify(received=True, processed=stored is not None)


def _schedule_status_check(provider: str, hint: StatusHint) -> None:
    """Schedule a query of the provider by a job: a provider that waits for our response must not wait for itself."""
    with context.transaction() as session:
        payment_id = callbacks.payment_to_query(session, provider, hint)
        if payment_id is not None:
            status_checks.request(session, payment_id)
    if payment_id is not None:
        context.enqueue_job("jobs.payments.ask", str(payment_id))


def _settle(event_id: uuid.UUID) -> None:
    """Settle a stored event immediately, because the payer is about to return and look for the ZNC.

    If that fails, the event is stored, and a job settles it.
    """
    try:
        with context.transaction() as session:
            # Providers have short timeouts, and a thread of the portal should not wait.
            session.execute(text("SET LOCAL lock_timeout = '1s'"))
            settlement.settle(session, event_id, pause_tokens=context.settings().debt.pause_tokens)
    except (DomainError, SQLAlchemyError) as error:
        logger.warning("payment event %s will be settled by a job: %s", event_id, type(error).__name__)
        context.enqueue_job("jobs.payments.settle", str(event_id))
