"""Account flows with e-mail links: registration, address confirmation, password reset, change of address."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.email_links import LinkPurpose
from models.services.accounts import email_links, former_accounts, users
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import LinkExpired
from models.services.notifications import outbox
from models.users import User


def register(session: Session, *, email: str, settings: Settings, actor: Actor, **facts: Any) -> User:
    """Create a user (`users.register`); with mail configured, they have to confirm their address first."""
    confirm = settings.mail.is_configured
    user = users.register(session, email=email, actor=actor, confirm=confirm, **facts)
    if not confirm:
        former_accounts.recognise(session, user, settings)
    else:
        email_links.request_link(session, LinkPurpose.CONFIRM_EMAIL, user.email, settings=settings, actor=actor)
    return user


def confirm_email(session: Session, secret: str, *, settings: Settings, actor: Actor) -> User:
    """Confirm an address, so that its owner can sign in. Raises LinkExpired."""
    user = _user_of(session, secret, LinkPurpose.CONFIRM_EMAIL, settings=settings)
    mark_confirmed(session, user, actor)
    former_accounts.recognise(session, user, settings)
    return user


def reset_password(session: Session, secret: str, new: str, *, settings: Settings, actor: Actor) -> User:
    """Set a new password for the owner of the address and end every login. Raises LinkExpired, InvalidInput.

    This also confirms the address: the old password may have been set by somebody who never owned it.
    """
    user = _user_of(session, secret, LinkPurpose.RESET_PASSWORD, settings=settings)
    users.set_password(session, user, new, actor=actor, action=AuditAction.USER_PASSWORD_RESET)
    mark_confirmed(session, user, actor)
    former_accounts.recognise(session, user, settings)
    return user


def request_sign_in_link(session: Session, user: User, *, settings: Settings, actor: Actor) -> None:
    """Request a link that completes a login for which the password alone is not enough."""
    email_links.request_link(session, LinkPurpose.SIGN_IN, user.email, settings=settings, actor=actor)


def sign_in(session: Session, secret: str, *, settings: Settings) -> User:
    """Return the user who followed a sign-in link after entering the right password. Raises LinkExpired."""
    return _user_of(session, secret, LinkPurpose.SIGN_IN, settings=settings)


def request_email_change(
    session: Session, user: User, *, email: str, password: str, settings: Settings, actor: Actor
) -> None:
    """Request a link to a new address. Raises InvalidInput for a wrong password or a malformed address.

    Whether the address is taken is not checked here, so the page cannot reveal it.
    """
    users.confirm_password(user, password)
    users.check_email(email)
    email_links.request_link(session, LinkPurpose.CHANGE_EMAIL, email, settings=settings, actor=actor, user=user)


def change_email(session: Session, secret: str, *, settings: Settings, actor: Actor) -> User:
    """Change a user's address to the one their link was sent to, and notify the old one. Raises LinkExpired."""
    link = email_links.redeem(session, secret, LinkPurpose.CHANGE_EMAIL, settings=settings)
    user = _lock(session, link.user_id)
    facts = {"username": user.username, "old": user.email, "new": link.email}
    outbox.enqueue_mail(session, "email_changed", user, dedup_key=f"email_changed:{link.id}", **facts)
    if users.by_email(session, link.email) not in {None, user}:
        # Checked before the unique index would, whose error puts the address into the server's log.
        raise LinkExpired
    try:
        with session.begin_nested():
            user.email = link.email
            session.flush()
    except IntegrityError:
        # Race: the address was taken after the mail was sent. The error does not say by whom.
        raise LinkExpired from None
    users.end_links(session, user.id)
    former_accounts.recognise(session, user, settings)
    audit_log.record(session, AuditAction.USER_EMAIL_CHANGED, actor, user_id=user.id, resource=("user", user.id))
    return user


def _user_of(session: Session, secret: str, purpose: LinkPurpose, *, settings: Settings) -> User:
    """Use a link and return its user, unless their address has changed since. Raises LinkExpired."""
    link = email_links.redeem(session, secret, purpose, settings=settings)
    user = _lock(session, link.user_id)
    same = session.scalar(select(func.lower(link.email) == func.lower(user.email)))
    if not same or not user.is_active:
        raise LinkExpired
    return user


def _lock(session: Session, user_id: object) -> User:
    """Lock the user's row and return its current state."""
    query = select(User).where(User.id == user_id).with_for_update(key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).one()


def mark_confirmed(session: Session, user: User, actor: Actor) -> None:
    """Mark a user's address as confirmed; a second call changes nothing."""
    if user.awaits_confirmation:
        user.awaits_confirmation = False
        audit_log.record(session, AuditAction.USER_EMAIL_CONFIRMED, actor, user_id=user.id, resource=("user", user.id))
        outbox.enqueue_mail(session, "welcome", user, dedup_key=f"welcome:{user.id}", username=user.username)
