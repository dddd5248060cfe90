"""Two-factor login with time-based codes (RFC 6238): set up, verify, recover, turn off.

A login calls `require` after `users.authenticate` in the same transaction, in which the accepted code is used up.
"""

import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import datetime

import pyotp
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config.settings import Settings
from models.services import text_validation
from models.services.accounts import logins, users
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.crypto import encryption
from models.services.errors import AlreadyRotated, InvalidInput, OtpInvalid, OtpRequired
from models.services.notifications import outbox
from models.two_factor import RecoveryCode, TwoFactor
from models.users import User

STEP_SECONDS = 30
# Accepts a clock that is half a minute off.
STEPS_AROUND = (-1, 0, 1)
RECOVERY_CODES = 10
# Without letters and digits that look alike: 32 symbols, so that ten make 50 bits.
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
CODE_LENGTH = 10


@dataclass(frozen=True, slots=True)
class TwoFactorStatus:
    """When a second factor was enabled (None: it is not), the recovery codes left, and the generation of their set."""

    since: datetime | None
    codes_left: int
    codes_generation: int


def status(session: Session, user_id: uuid.UUID) -> TwoFactorStatus:
    """Return the status of a user's second factor."""
    found = session.get(TwoFactor, user_id, populate_existing=True)
    left = session.scalar(select(func.count()).where(RecoveryCode.user_id == user_id)) or 0
    return TwoFactorStatus(found.confirmed_at if found else None, left, found.codes_generation if found else 0)


def is_enabled(session: Session, user_id: uuid.UUID) -> bool:
    """Return whether this user needs a code to sign in."""
    query = select(TwoFactor.user_id).where(TwoFactor.user_id == user_id, TwoFactor.confirmed_at.is_not(None))
    return session.scalar(query) is not None


def is_missing(session: Session, user: User, settings: Settings) -> bool:
    """Return whether this admin has to set up a second factor before using the admin area."""
    return user.is_superuser and settings.admin_two_factor and not is_enabled(session, user.id)


def require(session: Session, user: User, otp: str | None, *, settings: Settings, actor: Actor) -> None:
    """Require a code from a user with a second factor. Raises OtpRequired without one, OtpInvalid."""
    if not is_enabled(session, user.id):
        return
    if not (otp or "").strip():
        raise OtpRequired
    check(session, user, str(otp), settings=settings, actor=actor)


def check(session: Session, user: User, code: str, *, settings: Settings, actor: Actor) -> None:
    """Use up an authenticator code or a recovery code. Raises OtpInvalid.

    Races: the same code sent twice concurrently (only one changes the row), and a secret replaced after it was read
    (this code proves nothing about the new one).
    """
    typed = "".join(code.split()).replace("-", "").lower()
    found = session.scalars(
        select(TwoFactor).where(TwoFactor.user_id == user.id, TwoFactor.confirmed_at.is_not(None))
    ).one_or_none()
    if found is None or not text_validation.is_printable(typed):
        raise OtpInvalid
    step = _step_of(_decrypted(found, settings), typed)
    if step is not None:
        taken = session.scalar(
            update(TwoFactor)
            .where(*_same(found), TwoFactor.last_step < step)
            .values(last_step=step)
            .returning(TwoFactor.user_id)
            .execution_options(synchronize_session=False)
        )
    else:
        own = (RecoveryCode.user_id == user.id, RecoveryCode.code_hash == _hash(settings, user.id, typed))
        taken = session.scalar(delete(RecoveryCode).where(*own).returning(RecoveryCode.user_id))
        if taken is not None:
            who = replace(actor, user_id=user.id)
            action = AuditAction.RECOVERY_CODE_USED
            audit_log.record(session, action, who, user_id=user.id, resource=("user", user.id))
    if taken is None:
        raise OtpInvalid


def begin(session: Session, user: User, *, password: str, settings: Settings) -> None:
    """Create a pending secret, replacing one that was pending. Raises InvalidInput."""
    users.confirm_password(user, password)
    if is_enabled(session, user.id):
        raise InvalidInput("current_password", "two_factor_already_on")
    ciphertext = encryption.encrypt(
        settings.portal, pyotp.random_base32().encode(), purpose=encryption.Purpose.TOTP, owner=user.id
    )
    fresh = {"sealed_secret": ciphertext, "last_step": 0, "created_at": clock.now(), "confirmed_at": None}
    made = insert(TwoFactor).values(user_id=user.id, **fresh)
    # Race: another window confirms the pending secret concurrently. A confirmed secret is not replaced.
    session.execute(
        made.on_conflict_do_update(
            index_elements=[TwoFactor.user_id], set_=fresh, where=TwoFactor.confirmed_at.is_(None)
        )
    )


def waiting_secret(session: Session, user: User, settings: Settings) -> str | None:
    """Return the pending secret in the form that authenticator apps accept, or None."""
    found = _waiting(session, user)
    return _decrypted(found, settings) if found else None


def address(user: User, secret: str, settings: Settings) -> str:
    """Return the otpauth:// URL for the QR code."""
    return str(pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=settings.seller.name))


def confirm(session: Session, user: User, code: str, *, settings: Settings, actor: Actor) -> list[str]:
    """Enable the pending factor and return the recovery codes, which are shown once. Raises OtpInvalid."""
    found = _waiting(session, user)
    step = _step_of(_decrypted(found, settings), "".join(code.split())) if found else None
    turned_on = None
    if found is not None and step is not None:
        # Race: another window replaces the pending secret concurrently. The app does not have the new one.
        turned_on = session.scalar(
            update(TwoFactor)
            .where(*_same(found), TwoFactor.confirmed_at.is_(None))
            .values(confirmed_at=clock.now(), last_step=step)
            .returning(TwoFactor.user_id)
            .execution_options(synchronize_session=False)
        )
    if turned_on is None:
        raise OtpInvalid
    _record_and_notify(session, user, AuditAction.TWO_FACTOR_ON, "two_factor_on", actor)
    return _new_codes(session, user, settings)


def renew_codes(
    session: Session, user: User, *, password: str, code: str, seen: int, settings: Settings, actor: Actor
) -> list[str]:
    """Create new recovery codes and invalidate the old ones. Raises InvalidInput, OtpInvalid.

    `seen` is the generation that the user saw: a form sent twice creates one new set, and then raises AlreadyRotated.
    """
    if status(session, user.id).codes_generation != seen:
        raise AlreadyRotated
    users.confirm_password(user, password)
    check(session, user, code, settings=settings, actor=actor)
    # Race: two copies of one form, one with a recovery code. Only one of them changes the row.
    counted = update(TwoFactor).where(TwoFactor.user_id == user.id, TwoFactor.codes_generation == seen)
    counted = counted.values(codes_generation=seen + 1).returning(TwoFactor.user_id)
    if session.scalar(counted.execution_options(synchronize_session=False)) is None:
        raise AlreadyRotated
    audit_log.record(session, AuditAction.RECOVERY_CODES_MADE, actor, user_id=user.id, resource=("user", user.id))
    return _new_codes(session, user, settings)


def turn_off(session: Session, user: User, *, password: str, code: str, settings: Settings, actor: Actor) -> None:
    """Turn the second factor off. Raises InvalidInput, OtpInvalid."""
    users.confirm_password(user, password)
    check(session, user, code, settings=settings, actor=actor)
    remove_secret(session, user.id)
    _record_and_notify(session, user, AuditAction.TWO_FACTOR_OFF, "two_factor_off", actor)


def reset(session: Session, user_id: uuid.UUID, *, reason: str, actor: Actor) -> User:
    """Remove a user's lost second factor, as an admin, and end their logins. Raises NotFound.

    The user then signs in with the password alone and can set up a new one.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=3, at_most=200)
    user = users.by_id(session, user_id)
    remove_secret(session, user.id)
    logins.end_all(session, user.id, actor=actor)
    _record_and_notify(session, user, AuditAction.TWO_FACTOR_RESET, "two_factor_reset", actor, reason=reason)
    return user


def remove_secret(session: Session, user_id: uuid.UUID) -> None:
    """Delete secret and recovery codes."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    session.execute(delete(TwoFactor).where(TwoFactor.user_id == user_id))


def _waiting(session: Session, user: User) -> TwoFactor | None:
    query = select(TwoFactor).where(TwoFactor.user_id == user.id, TwoFactor.confirmed_at.is_(None))
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _same(found: TwoFactor) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Match the row only while it holds the secret that was read: every encryption differs."""
    return TwoFactor.user_id == found.user_id, TwoFactor.sealed_secret == found.sealed_secret


def _step_of(secret: str | None, code: str) -> int | None:
    """Return the time step that a code belongs to, if it is a current one."""
    if secret is None or len(code) != 6 or not code.isascii() or not code.isdigit():
        return None
    now = int(clock.now().timestamp()) // STEP_SECONDS
    totp = pyotp.TOTP(secret)
    steps = (now + around for around in STEPS_AROUND)
    return next((step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)), None)


def _decrypted(found: TwoFactor, settings: Settings) -> str | None:
    """Return the decrypted secret, or None after the portal's key was replaced: recovery codes still work then."""
    purpose = encryption.Purpose.TOTP
    try:
        return encryption.decrypt(settings.portal, found.sealed_secret, purpose=purpose, owner=found.user_id).decode()
    except encryption.DecryptionError:
        return None


def _new_codes(session: Session, user: User, settings: Settings) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = ["".join(secrets.choice(LETTERS) for _ in range(CODE_LENGTH)) for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(user_id=user.id, code_hash=_hash(settings, user.id, code)) for code in codes)
    session.flush()
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def _hash(settings: Settings, user_id: uuid.UUID, code: str) -> bytes:
    key = settings.tokens.hash_key.get_secret_value().encode()
    return hmac.digest(key, b"recovery:" + user_id.bytes + code.encode(), hashlib.sha256)


def _record_and_notify(
    session: Session, user: User, action: AuditAction, kind: str, actor: Actor, **details: str
) -> None:
    audit_log.record(session, action, actor, user_id=user.id, resource=("user", user.id), **details)
    key = f"{kind}:{user.id}:{clock.now().timestamp():.0f}"
    outbox.enqueue_mail(session, kind, user, dedup_key=key, username=user.username, **details)
