"""Idempotency-Key of the API: a repeated request is executed once and gets the same reply for 24 hours.

The reply is stored in the transaction that moves the money, so a crash cannot separate them. A refused request has
changed nothing and is not stored: repeated with its key, it is tried again.
"""

import hashlib
import hmac
import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models import clock
from models.config.settings import Settings
from models.idempotency import IdempotentReply
from models.services.crypto import encryption
from models.services.errors import IdempotencyKeyReused, IdempotentRequestInProgress
from models.users import User

KEPT_FOR = timedelta(hours=24)
LONGEST_KEY = 255
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A stored reply: status and JSON."""

    status: int
    body: str


def claim(session: Session, user: User, key: str, request: bytes, settings: Settings) -> uuid.UUID | StoredReply:
    """Claim a key for a request, or return its stored reply.

    A concurrent duplicate waits for the first to commit and gets its reply; IdempotentRequestInProgress when that
    exceeds the lock time-out. IdempotencyKeyReused when the key was used for another request.
    """
    key_hash, request_hash = _hash(settings, user, key.encode()), hashlib.sha256(request).digest()
    moment = clock.now()
    session.execute(
        delete(IdempotentReply).where(IdempotentReply.key_hash == key_hash, IdempotentReply.expires_at <= moment)
    )
    claimed = insert(IdempotentReply).values(
        id=uuid.uuid4(),
        user_id=user.id,
        key_hash=key_hash,
        request_hash=request_hash,
        status=0,
        body=b"",
        created_at=moment,
        expires_at=moment + KEPT_FOR,
    )
    try:
        made: uuid.UUID | None = session.scalar(
            claimed.on_conflict_do_nothing(index_elements=["key_hash"]).returning(IdempotentReply.id)
        )
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) == _LOCK_NOT_AVAILABLE:
            raise IdempotentRequestInProgress from None
        raise
    if made is not None:
        return made
    held = session.scalars(select(IdempotentReply).where(IdempotentReply.key_hash == key_hash)).one()
    if not hmac.compare_digest(held.request_hash, request_hash):
        raise IdempotencyKeyReused
    body = encryption.decrypt(settings.portal, held.body, purpose=encryption.Purpose.REPLY, owner=held.id)
    return StoredReply(held.status, body.decode())


def store_reply(session: Session, claimed: uuid.UUID, reply: StoredReply, settings: Settings) -> None:
    """Store the reply under the key claimed in this transaction."""
    row = session.get_one(IdempotentReply, claimed)
    row.status = reply.status
    row.body = encryption.encrypt(settings.portal, reply.body.encode(), purpose=encryption.Purpose.REPLY, owner=row.id)
    session.flush()


def delete_expired(session: Session) -> int:
    """Delete replies older than 24 hours; return the number deleted."""
    gone = session.scalars(
        delete(IdempotentReply).where(IdempotentReply.expires_at <= clock.now()).returning(IdempotentReply.id)
    )
    return len(gone.all())


def _hash(settings: Settings, user: User, key: bytes) -> bytes:
    """The user's id is part of the hash: two users may choose the same key."""
    return hmac.digest(settings.tokens.hash_key.get_secret_value().encode(), b"reply:" + user.id.bytes + key, "sha256")
