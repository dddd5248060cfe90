"""Users: registration, authentication, password changes and search."""

import re
import secrets
import string
import uuid
from dataclasses import replace

from sqlalchemy import ColumnElement, delete, false, func, or_, select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.email_links import EmailLink
from models.logins import Login
from models.services import text_validation
from models.services.accounts import logins, password_policy, passwords
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import AccountDisabled, EmailTaken, InvalidInput, LoginFailed, NotFound, UsernameTaken
from models.services.insertion import insert_unless_taken
from models.services.ledger import transfers
from models.services.notifications import outbox
from models.services.pagination import Page, fetch_page
from models.services.promotions import referrals
from models.translations import DEFAULT, LANGUAGES
from models.users import User

USERNAME = re.compile(r"[\w.-]{3,50}")
# Only the rough shape is checked: whether an address works is known when a mail arrives. Characters with a meaning in
# mail headers are refused, so that one address never reads as two.
EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"]{1,64}@[^\s@<>()\[\],;:\\\"]{1,189}")
FULL_NAME_LENGTH = 100
_CODE_LETTERS = string.ascii_uppercase + string.digits


def register(
    session: Session,
    *,
    email: str,
    username: str,
    password: str,
    actor: Actor,
    full_name: str | None = None,
    is_superuser: bool = False,
    referral_code: str = "",
    language: str = DEFAULT,
    confirm: bool = False,
) -> User:
    """Create a user with an empty wallet, referred by the owner of the referral code.

    With `confirm` they cannot sign in before following a link, which the caller requests (`email_links.request_link`).
    Raises InvalidInput, EmailTaken or UsernameTaken; of concurrent registrations the unique indexes let one win, and
    the others get the same errors.
    """
    email, username = email.strip(), username.strip()
    check_email(email)
    check_username(username)
    password_policy.check(password, own=(email, username, full_name or ""))
    referrer = referrals.referrer_of(session, referral_code)
    user = insert_unless_taken(
        session,
        User,
        referrer_id=referrer.id if referrer else None,
        email=email,
        username=username,
        full_name=text_validation.one_line(full_name or "", field="full_name", at_most=FULL_NAME_LENGTH) or None,
        password_hash=passwords.hash_password(password),
        is_superuser=is_superuser,
        language=language if language in LANGUAGES else DEFAULT,
        awaits_confirmation=confirm,
        referral_code="".join(secrets.choice(_CODE_LETTERS) for _ in range(12)),
    )
    if user is None:
        raise EmailTaken if by_email(session, email) is not None else UsernameTaken
    transfers.open_wallet(session, user.id)
    who = replace(actor, user_id=actor.user_id or user.id)
    audit_log.record(session, AuditAction.USER_REGISTERED, who, user_id=user.id, resource=("user", user.id))
    if not confirm:
        outbox.enqueue_mail(session, "welcome", user, dedup_key=f"welcome:{user.id}", username=user.username)
    return user


def username_taken(session: Session, username: str) -> bool:
    """Return whether a user name is taken, ignoring case."""
    if not text_validation.is_printable(username.strip()):
        return False
    query = select(User.id).where(func.lower(User.username) == func.lower(username.strip()))
    return session.scalar(query) is not None


def record_second_registration(session: Session, *, email: str, actor: Actor) -> bool:
    """Notify the owner of an address, at most once a day, that somebody tried to register it again.

    The page reveals nothing (docs/spec/invariants.md#28-account-enumeration). Returns whether the address is still
    unconfirmed: then the account's owner is unknown, and the caller sends a link to set a password.
    """
    owner = by_email(session, email)
    if owner is None:
        return False
    audit_log.record(session, AuditAction.USER_REGISTERED_AGAIN, actor, user_id=owner.id, resource=("user", owner.id))
    if owner.awaits_confirmation:
        return True
    dedup_key = f"registered_again:{owner.id}:{clock.now():%Y-%m-%d}"
    outbox.enqueue_mail(session, "registered_again", owner, dedup_key=dedup_key, username=owner.username)
    return False


def check_username(username: str) -> None:
    """Raise InvalidInput for an invalid user name."""
    if not USERNAME.fullmatch(username.strip()):
        raise InvalidInput("username", "username_malformed")


def check_email(email: str) -> None:
    """Raise InvalidInput for a malformed address."""
    if not (EMAIL.fullmatch(email.strip()) and text_validation.is_printable(email.strip())):
        raise InvalidInput("email", "email_malformed")


def authenticate(session: Session, *, email: str, password: str) -> User:
    """Return the user with this address and password; `logins.begin` then creates the login.

    Raises LoginFailed, also while the address is unconfirmed, or AccountDisabled once the password is right. A failure
    takes equally long for unknown and known addresses; the caller records it (`record_failed_login`).
    """
    user = by_email(session, email)
    if not passwords.verify_password(user.password_hash if user else None, password) or user is None:
        raise LoginFailed
    if user.awaits_confirmation:
        # The same error as for a wrong password: another one would reveal whose registration found the address free.
        raise LoginFailed
    if not user.is_active:
        raise AccountDisabled
    if passwords.needs_rehash(user.password_hash):
        user.password_hash = passwords.hash_password(password)
    return user


def record_failed_login(session: Session, *, email: str, actor: Actor) -> None:
    """Record a failed login; the caller runs it in a transaction of its own, after the rollback."""
    user = by_email(session, email)
    user_id = user.id if user else None
    audit_log.record(session, AuditAction.USER_LOGIN_FAILED, actor, user_id=user_id, resource=("user", user_id))


def confirm_password(user: User, password: str) -> None:
    """Raise InvalidInput unless this is the user's password: required again before sensitive actions."""
    if not passwords.verify_password(user.password_hash, password):
        raise InvalidInput("current_password", "current_password_incorrect")


def change_password(
    session: Session, user: User, *, current: str, new: str, actor: Actor, keep: Login | None = None
) -> None:
    """Set a new password and end every login but `keep`. Raises InvalidInput when the current one is wrong."""
    confirm_password(user, current)
    set_password(session, user, new, actor=actor, keep=keep)


def set_password(
    session: Session,
    user: User,
    new: str,
    *,
    actor: Actor,
    keep: Login | None = None,
    action: AuditAction = AuditAction.USER_PASSWORD_CHANGED,
) -> None:
    """Set a password, end every login but `keep` and every e-mail link, and notify the user by mail.

    Raises InvalidInput for a guessable password or the present one.
    """
    password_policy.check(new, field="new_password", own=(user.email, user.username, user.full_name or ""))
    if passwords.verify_password(user.password_hash, new):
        raise InvalidInput("new_password", "password_unchanged")
    user.password_hash = passwords.hash_password(new)
    user.password_version = User.password_version + 1
    session.flush()
    session.refresh(user, ["password_version"])
    if keep is None:
        logins.end_all(session, user.id, actor=actor)
    else:
        logins.end_others(session, user.id, keep=keep.id, actor=actor)
        keep.password_version = user.password_version
    end_links(session, user.id)
    audit_log.record(session, action, actor, user_id=user.id, resource=("user", user.id))
    key = f"password_changed:{user.id}:{user.password_version}"
    facts = {"username": user.username, "ip_address": actor.ip_address or ""}
    outbox.enqueue_mail(session, "password_changed", user, dedup_key=key, **facts)


def end_links(session: Session, user_id: uuid.UUID) -> None:
    """Delete every e-mail link of a user whose password or address has changed: older mails must not work any more."""
    session.execute(delete(EmailLink).where(EmailLink.user_id == user_id))


def set_full_name(session: Session, user: User, full_name: str, *, actor: Actor) -> None:
    """Set or clear a user's full name. Raises InvalidInput."""
    name = text_validation.one_line(full_name, field="full_name", at_most=FULL_NAME_LENGTH) or None
    if user.full_name != name:
        user.full_name = name
        session.flush()
        audit_log.record(session, AuditAction.USER_CHANGED, actor, user_id=user.id, resource=("user", user.id))


def by_id(session: Session, user_id: uuid.UUID) -> User:
    """Return the user, or raise NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("user")
    return user


def by_email(session: Session, email: str) -> User | None:
    """Return the user with this address, ignoring case."""
    if not text_validation.is_printable(email.strip()):
        return None
    # PostgreSQL lowers both sides: it and Python differ in some letters.
    return session.scalars(select(User).where(func.lower(User.email) == func.lower(email.strip()))).one_or_none()


def matches_text(words: str) -> ColumnElement[bool]:
    """Return an SQL condition: the user's address or name contains `words`."""
    if not text_validation.is_printable(words.strip()):
        return false()
    pattern = f"%{_escaped(words.strip())}%"
    return or_(User.email.ilike(pattern, escape="\\"), User.username.ilike(pattern, escape="\\"))


def search(session: Session, *, words: str = "", is_active: bool | None = None, limit: int, offset: int) -> Page[User]:
    """Return a page of users, newest first, whose address or name contains `words`."""
    query = select(User) if is_active is None else select(User).where(User.is_active if is_active else ~User.is_active)
    if words.strip():
        query = query.where(matches_text(words))
    return fetch_page(session, query, order=(User.created_at.desc(), User.id), limit=limit, offset=offset)


def _escaped(words: str) -> str:
    """Escape LIKE's special characters."""
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
