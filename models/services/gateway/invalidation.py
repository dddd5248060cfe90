"""Cache invalidation: notify the proxy workers that a token, its session or its owner changed.

PostgreSQL delivers the message when the transaction commits, and not at all when it rolls back, so no crash can
separate a change from its message. Workers LISTEN, drop their cached tokens and leave an invalidation marker in Redis.
The version grows with every change, so that data read before a change never replaces data read after it. Tokens are
cached by the hash of their secret, and of the previous secret while that is still valid: a message names every hash.
"""

import json
import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken

CHANNEL = "zenzefi_changes"


def invalidate_token(session: Session, token_id: uuid.UUID, *, ended: Sequence[bytes] = ()) -> None:
    """Invalidate a token after a change of it or of its session; the token's row is locked by the caller or here.

    `ended` are hashes of secrets that are no longer valid and no longer in its row.
    """
    _invalidate(session, AccessToken.id == token_id, ended)


def invalidate_tokens(session: Session, token_ids: Sequence[uuid.UUID]) -> None:
    """Invalidate several tokens, whose rows the caller has locked."""
    _invalidate(session, AccessToken.id.in_(token_ids))


def invalidate_tokens_of_user(session: Session, user_id: uuid.UUID) -> None:
    """Invalidate all tokens of a user that are not revoked."""
    _invalidate(session, (AccessToken.user_id == user_id) & AccessToken.revoked_at.is_(None))


def _invalidate(session: Session, which: ColumnElement[bool], ended: Sequence[bytes] = ()) -> None:
    session.flush()
    changed = session.execute(
        update(AccessToken)
        .where(which)
        .values(version=AccessToken.version + 1)
        .returning(AccessToken.id, AccessToken.secret_hash, AccessToken.previous_hash, AccessToken.version)
    ).all()
    for token_id, secret_hash, previous_hash, version in changed:
        hashes = dict.fromkeys(each for each in (secret_hash, previous_hash, *ended) if each is not None)
        message = {"token": str(token_id), "hashes": [each.hex() for each in hashes], "version": version}
        session.execute(select(func.pg_notify(CHANNEL, json.dumps(message))))
