"""Mails are written here in the transaction that causes them; `jobs.mail` sends them."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from models import clock
from models.audit import AuditAction
from models.notification_preferences import TOPICS
from models.outbox import MailState, OutboxMail
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound
from models.services.notifications import preferences as notification_preferences
from models.services.notifications import webhook_fan_out
from models.services.pagination import ListQuery
from models.users import User

ATTEMPTS = 8
LEASE = timedelta(minutes=5)
# No address below this name ever gets mail (RFC 2606); the platform's own users, as `doctor`'s, have one there.
UNDELIVERABLE_SUFFIX = ".invalid"


def enqueue_mail(
    session: Session, kind: str, user: User, *, dedup_key: str, recipient: str | None = None, **context: Any
) -> None:
    """Leave a notice for the jobs: a mail to `user`, and a post to each webhook of his that wants it, as he has chosen.

    A second one with the same `dedup_key` is not written; `recipient` is another address of his. Times in `context` are
    ISO-8601, amounts plain decimals: they become words in the reader's language when the mail is sent.
    """
    by_mail, by_webhook = notification_preferences.choice(session, user.id, kind)
    if by_webhook and (topic := TOPICS.get(kind)):
        webhook_fan_out.enqueue_deliveries(session, kind, topic, user.id, dedup_key=dedup_key, context=context)
    if not by_mail or user.email.endswith(UNDELIVERABLE_SUFFIX):
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


def release(session: Session, mail_ids: Sequence[uuid.UUID]) -> None:
    """Count no attempt of mails that were claimed and not tried; they wait for the end of their lease."""
    untried = update(OutboxMail).where(OutboxMail.id.in_(mail_ids)).values(attempts=OutboxMail.attempts - 1)
    session.execute(untried)


def mark_sent(session: Session, mail_id: uuid.UUID) -> None:
    """Record that the mail has left. One whose reader has deleted his account meanwhile is gone with it."""
    session.execute(update(OutboxMail).where(OutboxMail.id == mail_id).values(sent_at=clock.now()))


def mark_failed(session: Session, mail_id: uuid.UUID, error: str, *, is_final: bool = False) -> None:
    """Try again later, each time after twice as long; fail for good after the last attempt, or when `is_final`.

    A mail whose row was deleted meanwhile stays deleted.
    """
    mail = session.get(OutboxMail, mail_id, with_for_update=True)
    if mail is None:
        return
    mail.last_error = error[:300]
    if is_final or mail.attempts >= ATTEMPTS:
        mail.failed_at = clock.now()
    else:
        mail.next_attempt_at = clock.now() + timedelta(minutes=2**mail.attempts)


def list_mails(state: MailState) -> ListQuery[OutboxMail]:
    """Return the list of mails by where they stand: the next to be tried first, or what left or failed last."""
    query = select(OutboxMail)
    match state:
        case MailState.WAITING:
            query = query.where(OutboxMail.sent_at.is_(None), OutboxMail.failed_at.is_(None))
            order: Any = OutboxMail.next_attempt_at
        case MailState.SENT:
            query, order = query.where(OutboxMail.sent_at.is_not(None)), OutboxMail.sent_at.desc()
        case MailState.FAILED:
            query, order = query.where(OutboxMail.failed_at.is_not(None)), OutboxMail.failed_at.desc()
    return ListQuery(query, (order, OutboxMail.id))


def resend(session: Session, mail_id: uuid.UUID, *, actor: Actor) -> None:
    """Let a mail that was given up start anew; one that is on its way is left alone. Raises NotFound."""
    mail = session.scalars(select(OutboxMail).where(OutboxMail.id == mail_id).with_for_update()).one_or_none()
    if mail is None:
        raise NotFound("email")
    if mail.failed_at is not None:
        mail.failed_at, mail.attempts, mail.next_attempt_at = None, 0, clock.now()
        resource = ("mail", mail.id)
        audit_log.record(session, AuditAction.MAIL_SENT_AGAIN, actor, user_id=mail.user_id, resource=resource)


def delete_before(session: Session, moment: datetime) -> int:
    """Delete mails that left, or were given up, before `moment`; returns how many went."""
    gone = or_(OutboxMail.sent_at < moment, OutboxMail.failed_at < moment)
    return len(session.execute(delete(OutboxMail).where(gone).returning(OutboxMail.id)).all())
