"""Token time jobs: end pauses, credit outages, renew, notify of expiry, pay out bonuses; one transaction per token."""

import logging
import uuid
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from jobs import context
from models.config.settings import Settings
from models.services.errors import DomainError
from models.services.promotions import bonus_corrections, referrals
from models.services.tokens import debt_pauses, expiry_notices, outage_credit, renewal
from models.services.tokens import pause as token_pause

logger = logging.getLogger(__name__)

BATCH_SIZE = 500  # tokens credited in one transaction


def end_pauses() -> int:
    """End the pauses that have reached their limit, as of that moment; return the number ended."""
    return _each(
        lambda session, _settings: token_pause.due(session),
        lambda session, key, _: token_pause.resume_due(session, key),
    )


def pause_for_debt() -> int:
    """Pause tokens bought with money that is owed, and resume them once it is repaid; return the number changed."""
    return _each(debt_pauses.due, debt_pauses.settle)


def notify_renewals() -> int:
    """Notify owners of upcoming renewals; return the number notified."""
    return _each(renewal.due_to_notify, renewal.notify)


def renew() -> int:
    """Renew the tokens that are due from their owners' balances, or stop their renewal; return the number processed."""
    return _each(renewal.due, renewal.renew)


def notify_expiries() -> int:
    """Notify owners of tokens without auto-renewal that are about to expire; return the number notified."""
    return _each(expiry_notices.due_to_notify, expiry_notices.notify)


def vest_bonuses() -> int:
    """Credit bonuses whose purchase can no longer be refunded, and return withheld ones; return the number changed."""
    restored = _each(
        lambda session, _settings: bonus_corrections.due_to_restore(session),
        lambda session, key, _: bonus_corrections.restore(session, key),
    )
    return restored + _each(
        lambda session, _settings: referrals.due(session), lambda session, key, _: referrals.vest(session, key)
    )


def credit_outages() -> int:
    """Credit tokens for closed outages, one transaction per batch; return the number of tokens processed."""
    with context.sessions().begin() as session:
        waiting = outage_credit.due(session)
    looked_at = 0
    for outage_id in waiting:
        found = 1
        while found:
            with context.sessions().begin() as session:
                found = outage_credit.credit(session, outage_id, context.settings(), limit=BATCH_SIZE)
            looked_at += found
    return looked_at


def _each(
    find: Callable[[Session, Settings], list[uuid.UUID]], act: Callable[[Session, uuid.UUID, Settings], bool]
) -> int:
    """Act on each id that is found; a failure does not block the others. Return the number acted on."""
    settings = context.settings()
    with context.sessions().begin() as session:
        found = find(session, settings)
    acted = 0
    for token_id in found:
        try:
            with context.sessions().begin() as session:
                acted += act(session, token_id, settings)
        except (DomainError, SQLAlchemyError):
            logger.exception("token %s: %s failed", token_id, act.__name__)
    return acted
