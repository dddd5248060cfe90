"""Jobs about the time that was bought. Each token is a transaction of its own, and a second run finds the work done."""

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

BATCH_SIZE = 500  # tokens that are credited in one transaction


def end_pauses() -> int:
    """End the pauses whose time is used up, as of the moment when it was; returns how many."""
    return _each(
        lambda session, _settings: token_pause.due(session),
        lambda session, key, _: token_pause.resume_due(session, key),
    )


def pause_for_debt() -> int:
    """Pause tokens that were bought with money that is owed, and resume them once it is repaid; returns how many."""
    return _each(debt_pauses.due, debt_pauses.settle)


def notify_renewals() -> int:
    """Tell the owners of tokens that are to be renewed what will happen; returns how many."""
    return _each(renewal.due_to_notify, renewal.notify)


def renew() -> int:
    """Renew the tokens that are due from their owners' balances, or stop their renewal; returns how many."""
    return _each(renewal.due, renewal.renew)


def notify_expiries() -> int:
    """Tell the owners of tokens that do not renew themselves that these are about to end; returns how many."""
    return _each(expiry_notices.due_to_notify, expiry_notices.notify)


def vest_bonuses() -> int:
    """Pay out bonuses whose purchase cannot be refunded any more, and give back withheld ones; returns how many."""
    restored = _each(
        lambda session, _settings: bonus_corrections.due_to_restore(session),
        lambda session, key, _: bonus_corrections.restore(session, key),
    )
    return restored + _each(
        lambda session, _settings: referrals.due(session), lambda session, key, _: referrals.vest(session, key)
    )


def credit_outages() -> int:
    """Credit tokens for outages that are over, a batch a transaction; returns how many tokens were looked at."""
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
    """Act on each that is found; one that fails must not keep the others waiting. Returns how many were acted on."""
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
