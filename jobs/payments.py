"""Payment jobs: settle callbacks, query providers, send refunds. Each is idempotent."""

import logging
import urllib.error
import urllib.request
import uuid
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from jobs import context
from models.payments import ReversalState
from models.services.errors import DomainError, ProviderDown
from models.services.payments import callbacks, refunds, settlement, status_checks, topups
from models.services.payments.providers import mock

logger = logging.getLogger(__name__)


def settle(event_id: str) -> str:
    """Settle a stored callback, and then all others that are pending.

    Starting a job costs more than a settlement, so the first job of a burst does the work of all.
    """
    result = _settle(uuid.UUID(event_id))
    _settle_waiting(older_than=timedelta(0))
    return result


def sweep_events() -> int:
    """Settle stored callbacks whose own job was lost; return the number settled."""
    return _settle_waiting(older_than=callbacks.SWEEP_AFTER)


def _settle(event_id: uuid.UUID) -> str:
    with context.sessions().begin() as session:
        result = settlement.settle(session, event_id, pause_tokens=context.settings().debt.pause_tokens)
    logger.info("payment event %s: %s", event_id, result)
    return result


def _settle_waiting(*, older_than: timedelta) -> int:
    with context.sessions().begin() as session:
        waiting = callbacks.unprocessed_events(session, older_than=older_than)
    settled = 0
    for event_id in waiting:
        try:
            _settle(event_id)
            settled += 1
        except (DomainError, SQLAlchemyError):
            # One event that cannot be settled must not block the others.
            logger.exception("payment event %s: cannot be settled", event_id)
            with context.sessions().begin() as session:
                callbacks.postpone(session, event_id)
    return settled


def ask(payment_id: str) -> str | None:
    """Query a payment's provider for its status, after a hint that it has changed."""
    return _ask(uuid.UUID(payment_id))


def ask_providers() -> int:
    """Query providers about the payments that are due, one transaction each; return the number of changed ones."""
    with context.sessions().begin() as session:
        waiting = status_checks.due(session)
    return sum(_ask(payment_id) is not None for payment_id in waiting)


def _ask(payment_id: uuid.UUID) -> str | None:
    """Query the status of one payment; a provider error is retried later and does not block other payments."""
    settings = context.settings()
    try:
        with context.sessions().begin() as session:
            result = settlement.query_provider(session, payment_id, settings)
    except ProviderDown:
        logger.warning("payment %s: the provider does not answer; the query will be retried", payment_id)
    except (DomainError, SQLAlchemyError):
        logger.exception("payment %s: the provider's response was rejected", payment_id)
    else:
        logger.info("payment %s, provider queried: %s", payment_id, result or "nothing new")
        return result
    with context.sessions().begin() as session:
        status_checks.unanswered(session, payment_id, settings)
    return None


def send_refund(reversal_id: str) -> str:
    """Send an admin's refund to the provider; the sweep retries failures."""
    name = uuid.UUID(reversal_id)
    try:
        with context.sessions().begin() as session:
            state = refunds.send(session, name, context.settings())
    except ProviderDown:
        logger.warning("refund %s: the provider does not answer; it will be retried", name)
    except (DomainError, SQLAlchemyError):
        logger.exception("refund %s: cannot be sent", name)
    else:
        logger.info("refund %s: %s", name, state)
        return state.value
    with context.sessions().begin() as session:
        refunds.postpone(session, name)
    return ReversalState.REQUESTED.value


def sweep_refunds() -> int:
    """Send refunds whose own job was lost or failed; return the number carried out."""
    with context.sessions().begin() as session:
        waiting = refunds.due(session, older_than=callbacks.SWEEP_AFTER)
    return sum(send_refund(str(reversal_id)) != ReversalState.REQUESTED for reversal_id in waiting)


def expire_pending() -> int:
    """Expire payments that were not paid in time; return the number expired."""
    with context.sessions().begin() as session:
        return topups.expire(session)


def deliver_mock_callback(checkout_id: str) -> int:
    """Simulate the mock provider: send its customer's decision to our callback address.

    Return the HTTP status. An error status raises, and RQ retries as a real provider would.
    """
    settings = context.settings()
    with context.sessions().begin() as session:
        checkout = mock.checkout_of(session, uuid.UUID(checkout_id))
        body, headers = mock.MockProvider(settings).signed_callback(checkout)
    request = urllib.request.Request(  # noqa: S310 - the address is our own portal's, from the settings
        f"{settings.portal.loopback}/api/v1/webhooks/payment", data=body, headers=headers, method="POST"
    )
    # Directly to the portal: an http_proxy of the environment must not apply to loopback.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return int(answer.status)
