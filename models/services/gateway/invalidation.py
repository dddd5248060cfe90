"""Cache invalidation: notify the proxy workers that a token, its session or its owner changed.

PostgreSQL delivers the notice when the transaction commits, and not at all when it rolls back, so no crash can
separate a change from its announcement. Workers LISTEN, drop what they knew and leave a tombstone in Redis. The
version grows with every change, so that what was read before it never replaces what was read after it. A token is known
by the hash of its secret, and while the secret before it still opens it, by that one's too: a notice names them all.
"""

import json
import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken

CHANNEL = "zenzefi_changes"


def invalidate_token(session: Session, token_id: uuid.UUID, *, ended: Sequence[bytes] = ()) -> None:
    """Announce a change of a token or of its session; the caller holds the token's row lock or takes it here.

    `ended` are hashes of secrets that open it no more, and that its row does not name any longer.
    """
    _invalidate(session, AccessToken.id == token_id, ended)


def invalidate_tokens(session: Session, token_ids: Sequence[uuid.UUID]) -> None:
    """Announce a change of several tokens, whose row locks the caller holds."""
    _invalidate(session, AccessToken.id.in_(token_ids))


def invalidate_tokens_of_user(session: Session, user_id: uuid.UUID) -> None:
    """Announce that all tokens of a user are to be looked at anew."""
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
        notice = {"token": str(token_id), "hashes": [each.hex() for each in hashes], "version": version}
        session.execute(select(func.pg_notify(CHANNEL, json.dumps(notice))))
