"""Mails are written here in the transaction that causes them; `jobs.mail` sends them."""

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from models import clock
from models.outbox import OutboxMail
from models.services import notices
from models.users import User

ATTEMPTS = 8
LEASE = timedelta(minutes=5)
# No address below this name ever gets mail (RFC 2606); the platform's own users, as `doctor`'s, have one there.
NOWHERE = ".invalid"


def write(
    session: Session, kind: str, user: User, *, dedup_key: str, recipient: str | None = None, **context: Any
) -> None:
    """Leave a mail to `user` for the job, unless he has switched this kind off; `recipient` is another address of his.

    A second one with the same `dedup_key` is not written. Times in `context` are ISO-8601, amounts plain decimals: they
    become words in the reader's language when the mail is sent.
    """
    by_mail, _by_webhook = notices.choice(session, user.id, kind)
    if not by_mail or user.email.endswith(NOWHERE):
        return
    row = {"id": uuid.uuid4(), "kind": kind, "user_id": user.id, "recipient": recipient or user.email}
    session.execute(
        insert(OutboxMail)
        .values(**row, context=context, dedup_key=dedup_key)
        .on_conflict_do_nothing(index_elements=[OutboxMail.dedup_key])
    )


def claim(session: Session, *, limit: int = 50) -> list[OutboxMail]:
    """Take waiting mails and push their next attempt away, so that two senders never hold the same one.

    A sender that dies after this commits loses nothing: the mail is due again when the lease ends.
    """
    now = clock.now()
    waiting = (
        select(OutboxMail)
        .options(joinedload(OutboxMail.user))
        .where(OutboxMail.sent_at.is_(None), OutboxMail.failed_at.is_(None), OutboxMail.next_attempt_at <= now)
        .order_by(OutboxMail.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=OutboxMail)
    )
    mails = list(session.scalars(waiting))
    for mail in mails:
        mail.attempts += 1
        mail.next_attempt_at = now + LEASE
    session.flush()
    return mails


def mark_sent(session: Session, mail_id: uuid.UUID) -> None:
    """Record that the mail has left."""
    session.get_one(OutboxMail, mail_id).sent_at = clock.now()


def mark_failed(session: Session, mail_id: uuid.UUID, error: str) -> None:
    """Try again later, each time after twice as long; give up after the last attempt."""
    mail = session.get_one(OutboxMail, mail_id)
    mail.last_error = error[:300]
    if mail.attempts >= ATTEMPTS:
        mail.failed_at = clock.now()
    else:
        mail.next_attempt_at = clock.now() + timedelta(minutes=2**mail.attempts)
