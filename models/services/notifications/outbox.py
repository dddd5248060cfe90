"""Mail outbox: mails are enqueued in the transaction that causes them; `jobs.mail` sends them."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, or_, select, update
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
from models.services.notifications import wake_ups, webhook_fan_out
from models.services.pagination import ListQuery
from models.users import User

ATTEMPTS = 8
LEASE = timedelta(minutes=5)
# Addresses in this domain never receive mail (RFC 2606); the platform's own users have one.
UNDELIVERABLE_SUFFIX = ".invalid"


def enqueue_mail(
    session: Session, kind: str, user: User, *, dedup_key: str, recipient: str | None = None, **context: Any
) -> None:
    """Enqueue a notification: a mail to `user` and a delivery to each of their webhooks, as their preferences say.

    Nothing is enqueued twice with the same `dedup_key`; `recipient` is another address of theirs. Times in `context`
    are ISO 8601, amounts plain decimals: they are formatted when the mail is rendered.
    """
    by_mail, by_webhook = notification_preferences.is_wanted(session, user.id, kind)
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
    wake_ups.request(session, wake_ups.SEND_MAILS)


def pending() -> Select[OutboxMail]:
    """Return the query for mails that are to be sent now."""
    return select(OutboxMail).where(
        OutboxMail.sent_at.is_(None), OutboxMail.failed_at.is_(None), OutboxMail.next_attempt_at <= clock.now()
    )


def claim(session: Session, *, limit: int = 50) -> list[OutboxMail]:
    """Claim pending mails by postponing their next attempt, so that two senders never have the same one.

    If a sender dies after the commit, the mails are due again when the lease ends.
    """
    waiting = (
        pending()
        .options(joinedload(OutboxMail.user))
        .order_by(OutboxMail.next_attempt_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=OutboxMail)
    )
    mails = list(session.scalars(waiting))
    for mail in mails:
        mail.attempts += 1
        mail.next_attempt_at = clock.now() + LEASE
    session.flush()
    return mails


def release(session: Session, mail_ids: Sequence[uuid.UUID]) -> None:
    """Count no attempt for mails that were claimed and not tried; they stay leased."""
    untried = update(OutboxMail).where(OutboxMail.id.in_(mail_ids)).values(attempts=OutboxMail.attempts - 1)
    session.execute(untried)


def mark_sent(session: Session, mail_id: uuid.UUID) -> None:
    """Mark a mail as sent. It may be gone, if its recipient deleted the account meanwhile."""
    session.execute(update(OutboxMail).where(OutboxMail.id == mail_id).values(sent_at=clock.now()))


def mark_failed(session: Session, mail_id: uuid.UUID, error: str, *, is_final: bool = False) -> None:
    """Schedule a retry with doubled delay; fail permanently after the last attempt, or when `is_final`.

    A mail deleted meanwhile stays deleted.
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
    """Return the list of mails in a state: next attempt first, or last sent or failed first."""
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
    """Restart a mail that failed permanently; a pending one is left alone. Raises NotFound."""
    mail = session.scalars(select(OutboxMail).where(OutboxMail.id == mail_id).with_for_update()).one_or_none()
    if mail is None:
        raise NotFound("email")
    if mail.failed_at is not None:
        mail.failed_at, mail.attempts, mail.next_attempt_at = None, 0, clock.now()
        resource = ("mail", mail.id)
        audit_log.record(session, AuditAction.MAIL_SENT_AGAIN, actor, user_id=mail.user_id, resource=resource)


def delete_before(session: Session, moment: datetime) -> int:
    """Delete mails sent or failed before `moment`; return the number deleted."""
    gone = or_(OutboxMail.sent_at < moment, OutboxMail.failed_at < moment)
    return len(session.execute(delete(OutboxMail).where(gone).returning(OutboxMail.id)).all())
