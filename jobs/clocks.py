"""Jobs about the time that was bought. Each token is a transaction of its own, and a second run finds the work done."""

import logging
import uuid
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from jobs import runtime
from models.config import Settings
from models.services import pausing
from models.services.errors import DomainError

logger = logging.getLogger(__name__)


def end_pauses() -> int:
    """End the pauses whose time is used up, as of the moment when it was; returns how many."""
    return _each(pausing.due, pausing.resume_due)


def _each(
    find: Callable[[Session, Settings], list[uuid.UUID]], act: Callable[[Session, uuid.UUID, Settings], bool]
) -> int:
    """Act on each that is found; one that fails must not keep the others waiting. Returns how many were acted on."""
    settings = runtime.settings()
    with runtime.sessions().begin() as session:
        found = find(session, settings)
    acted = 0
    for token_id in found:
        try:
            with runtime.sessions().begin() as session:
                acted += act(session, token_id, settings)
        except (DomainError, SQLAlchemyError):
            logger.exception("token %s: %s failed", token_id, act.__name__)
    return acted
