"""E-mail links: requested without checking who has the address, sent by a job, single-use and short-lived.

The secret of a link is derived from the row's id under the portal's key, so neither the row nor the pending mail
contains it: a stolen database grants no access.
"""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.email_links import EmailLink, LinkPurpose
from models.services.accounts import users
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.crypto import secrets
from models.services.errors import LinkExpired
from models.services.notifications import outbox
from models.users import User

LIFETIME = {
    LinkPurpose.CONFIRM_EMAIL: timedelta(hours=24),
    LinkPurpose.RESET_PASSWORD: timedelta(hours=1),
    LinkPurpose.CHANGE_EMAIL: timedelta(hours=1),
    LinkPurpose.SIGN_IN: timedelta(hours=1),
}
# Mails of one kind per user and hour, however many client addresses request them.
MAX_PER_HOUR = 3


def request_link(
    session: Session,
    purpose: LinkPurpose,
    email: str,
    *,
    settings: Settings,
    actor: Actor,
    user: User | None = None,
) -> None:
    """Request a mail with a link to an address, whether or not it has an account.

    A change of address names its `user`; the other links go to the owner of the address.
    """
    link_id, moment = uuid.uuid4(), clock.now()
    session.add(
        EmailLink(
            id=link_id,
            purpose=purpose,
            user_id=user.id if user else None,
            email=email.strip(),
            secret_hash=_hash(settings, secret_of(settings, link_id)),
            ip_address=(actor.ip_address or "")[:45] or None,
            created_at=moment,
            expires_at=moment + LIFETIME[purpose],
        )
    )
    session.flush()


def requested() -> Select[EmailLink]:
    """Return the query for requested links that were not sent yet."""
    return select(EmailLink).where(EmailLink.sent_at.is_(None))


def send_requested(session: Session, *, limit: int = 50) -> int:
    """Enqueue the mails for requested links and delete requests without a recipient; return the number processed."""
    asked = session.scalars(
        requested().order_by(EmailLink.created_at).limit(limit).with_for_update(skip_locked=True)
    ).all()
    for link in asked:
        if not _send(session, link):
            session.delete(link)
        session.flush()
    return len(asked)


def find(session: Session, secret: str, *, settings: Settings) -> EmailLink:
    """Return the link with its user, without using it. Raises LinkExpired."""
    link = session.scalars(select(EmailLink).where(EmailLink.secret_hash == _hash(settings, secret))).one_or_none()
    if link is None or link.user is None or not link.user.is_active or link.expires_at <= clock.now():
        raise LinkExpired
    return link


def redeem(session: Session, secret: str, purpose: LinkPurpose, *, settings: Settings) -> EmailLink:
    """Use a link and return it. Raises LinkExpired.

    Race: one link used twice concurrently. Both may find it, but only one deletes the row.
    """
    link = find(session, secret, settings=settings)
    # Lock order: the user before their links, as in `end_links`; another order could deadlock.
    session.execute(select(User.id).where(User.id == link.user_id).with_for_update(key_share=True))
    gone = session.scalar(
        delete(EmailLink).where(EmailLink.id == link.id, EmailLink.purpose == purpose).returning(EmailLink.id)
    )
    if gone is None:
        raise LinkExpired
    session.expunge(link)
    return link


def delete_expired(session: Session) -> int:
    """Delete expired links; return the number deleted."""
    gone = session.scalars(delete(EmailLink).where(EmailLink.expires_at <= clock.now()).returning(EmailLink.id))
    return len(gone.all())


def secret_of(settings: Settings, link_id: uuid.UUID) -> str:
    """Return the secret of a link, which appears in its URL only."""
    key = settings.portal.secret_key.get_secret_value().encode()
    digest = hmac.digest(key, b"mailed link:" + link_id.bytes, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def with_link_url(context: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return a mail's context with the URL of its link, if it has one."""
    if "link_id" not in context:
        return dict(context)
    secret = secret_of(settings, uuid.UUID(context["link_id"]))
    return {**context, "link": f"{settings.portal.address}/links/{secret}"}


def _send(session: Session, link: EmailLink) -> bool:
    user = link.user if link.purpose is LinkPurpose.CHANGE_EMAIL else users.by_email(session, link.email)
    if user is None or not user.is_active or _is_over_limit(session, user, link.purpose):
        return False
    match link.purpose:
        case LinkPurpose.CONFIRM_EMAIL if not user.awaits_confirmation:
            return False
        case LinkPurpose.CHANGE_EMAIL if (owner := users.by_email(session, link.email)) and owner is not user:
            # The requester learns nothing; the owner of the address is notified that somebody tried.
            key = f"registered_again:{owner.id}:{clock.now():%Y-%m-%d}"
            outbox.enqueue_mail(session, "registered_again", owner, dedup_key=key, username=owner.username)
            return False
        case LinkPurpose.RESET_PASSWORD:
            action, asker = AuditAction.USER_PASSWORD_RESET_ASKED, Actor(ip_address=link.ip_address)
            audit_log.record(session, action, asker, user_id=user.id, resource=("user", user.id))
        case _:
            pass
    link.user, link.sent_at = user, clock.now()
    outbox.enqueue_mail(
        session,
        link.purpose,
        user,
        recipient=link.email if link.purpose is LinkPurpose.CHANGE_EMAIL else user.email,
        dedup_key=f"link:{link.id}",
        username=user.username,
        link_id=str(link.id),
    )
    return True


def _is_over_limit(session: Session, user: User, purpose: LinkPurpose) -> bool:
    recent = EmailLink.sent_at > clock.now() - timedelta(hours=1)
    query = select(func.count()).where(EmailLink.user_id == user.id, EmailLink.purpose == purpose, recent)
    return (session.scalar(query) or 0) >= MAX_PER_HOUR


def _hash(settings: Settings, secret: str) -> bytes:
    return secrets.hash_of(settings.tokens, secret, secrets.Purpose.LINK)
