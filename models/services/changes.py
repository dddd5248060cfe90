"""Telling the proxy workers that a token or a user has changed.

PostgreSQL delivers the notice when the transaction commits, and not at all when it rolls back, so no crash can
separate a change from its announcement. Workers LISTEN and drop what they knew.
"""

import json
import uuid

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.tokens import AccessToken

CHANNEL = "zenzefi_changes"


def announce_token(session: Session, token: AccessToken) -> None:
    """Raise the token's version and tell every worker to forget it."""
    token.version = AccessToken.version + 1
    session.flush()
    announce_use(session, token.id)


def announce_use(session: Session, token_id: uuid.UUID) -> None:
    """Tell every worker to forget a token whose row stayed as it was but whose session changed."""
    _notify(session, {"token": str(token_id)})


def announce_user(session: Session, user_id: uuid.UUID) -> None:
    """Tell every worker to forget all tokens of a user."""
    session.execute(update(AccessToken).where(AccessToken.user_id == user_id).values(version=AccessToken.version + 1))
    _notify(session, {"user": str(user_id)})


def _notify(session: Session, payload: dict[str, str]) -> None:
    session.execute(select(func.pg_notify(CHANNEL, json.dumps(payload))))
