"""Account deletion: end tokens and logins, write off the wallet, anonymise what remains. Ledger and audit log stay."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.api_keys import ApiKey
from models.audit import AuditAction
from models.config.settings import Settings
from models.idempotency import IdempotentReply
from models.known_devices import KnownDevice
from models.logins import Login
from models.notification_preferences import NotificationPreference
from models.outbox import OutboxMail
from models.payments import Payment, PaymentStatus
from models.proxy_sessions import ProxySession
from models.services.accounts import former_accounts, passwords, roles, two_factor, users
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import LastSuperuser, PaymentPending
from models.services.gateway import invalidation
from models.services.ledger import adjustments, transfers
from models.services.notifications import outbox
from models.services.promotions import bonus_corrections
from models.services.tokens import queries as token_queries
from models.user_notes import UserNote
from models.users import User
from models.webhooks import WebhookEndpoint

# Tables whose rows belong to the user alone; a webhook's deliveries are deleted by cascade.
OWNED_TABLES = (Login, ApiKey, IdempotentReply, WebhookEndpoint, NotificationPreference, KnownDevice, UserNote)


@dataclass(frozen=True, slots=True)
class DeletionSummary:
    """What a deletion forfeits: ZNC in the wallet and usable tokens. `waits`: a payment is pending."""

    balance: Decimal
    tokens: int
    waits: bool


def preview(session: Session, user: User) -> DeletionSummary:
    """Return what would be forfeited if the account were deleted now."""
    usable = select(func.count()).where(AccessToken.user_id == user.id, token_queries.has_not_ended())
    pending = select(Payment.id).where(Payment.user_id == user.id, Payment.status == PaymentStatus.PENDING).limit(1)
    return DeletionSummary(
        transfers.wallet_of(session, user.id).balance, session.scalar(usable) or 0, session.scalar(pending) is not None
    )


def delete_account(
    session: Session, user: User, *, password: str, code: str | None, settings: Settings, actor: Actor
) -> DeletionSummary:
    """Delete a user's own account and return what was forfeited.

    1. Refuse for the last admin and while a payment is pending, which could be credited to nobody.
    2. Notify the user by mail, before the address is deleted.
    3. End their tokens without a refund, as there is no wallet left for it, and their links and second factor; delete
       their logins, API keys, webhooks, preferences, known devices and admins' notes.
    4. Book the wallet's balance out and let held referral bonuses lapse: no money may reach a deleted account, and a
       deletion must not pay a bonus out early.
    5. Close the user's accounts, and keep a keyed hash of the address, by which debts and limits apply again after a
       new registration.
    6. Anonymise names, addresses and devices in the rows that remain.

    Raises InvalidInput for a wrong password, OtpRequired, OtpInvalid, LastSuperuser, PaymentPending.
    """
    # Lock order: admins, user, tokens, bonuses, wallet, logins, as everywhere; another order could deadlock. A form
    # sent twice finds the password gone the second time.
    admins = roles.locked_admins(session) if user.is_superuser else []
    session.refresh(user, with_for_update={"key_share": True})
    users.confirm_password(user, password)
    two_factor.require(session, user, code, settings=settings, actor=actor)
    if admins == [user.id]:
        raise LastSuperuser
    _lock_tokens(session, user.id)
    bonuses = bonus_corrections.lock_of_deleted_user(session, user.id)
    transfers.locked_wallet(session, user.id)
    gone = preview(session, user)
    if gone.waits:
        raise PaymentPending
    session.execute(delete(OutboxMail).where(OutboxMail.user_id == user.id))
    facts = {"username": user.username, "balance": f"{gone.balance:.2f}"}
    outbox.enqueue_mail(session, "account_deleted", user, dedup_key=f"account_deleted:{user.id}", **facts)
    _end_tokens(session, user.id)
    if gone.balance > 0:
        adjustments.adjust(session, user, amount=-gone.balance, reason="Account deleted", actor=actor)
    for bonus in bonuses:
        bonus_corrections.lapse(session, bonus, actor=actor)
    two_factor.remove_secret(session, user.id)
    users.end_links(session, user.id)
    for table in OWNED_TABLES:
        session.execute(delete(table).where(table.user_id == user.id))
    details = {"tokens": gone.tokens, "lapsed": str(gone.balance)}
    audit_log.record(session, AuditAction.USER_DELETED, actor, user_id=user.id, resource=("user", user.id), **details)
    transfers.close_accounts(session, user.id, clock.now())
    user.address_hash = former_accounts.address_hash(user.email, settings)
    _anonymise(session, user)
    return gone


def _end_tokens(session: Session, user_id: uuid.UUID) -> None:
    """End usable tokens under their row locks, and invalidate them in the workers' caches."""
    # Checked again: a token may have been bought just before the wallet was locked.
    if ids := _lock_tokens(session, user_id):
        ended = {"revoked_at": clock.now(), "refund_amount": 0, "auto_renew": False}
        session.execute(update(AccessToken).where(AccessToken.id.in_(ids)).values(ended))
        invalidation.invalidate_tokens(session, ids)


def _lock_tokens(session: Session, user_id: uuid.UUID) -> Sequence[uuid.UUID]:
    query = select(AccessToken.id).where(AccessToken.user_id == user_id, token_queries.has_not_ended())
    return session.scalars(query.order_by(AccessToken.id).with_for_update()).all()


def _anonymise(session: Session, user: User) -> None:
    name = f"deleted-{user.id.hex[:20]}"
    user.email, user.username, user.full_name = f"{name}@deleted.invalid", name, None
    user.password_hash = passwords.hash_password(secrets.token_urlsafe(32))
    user.password_version = user.password_version + 1
    user.is_active = user.is_superuser = user.awaits_confirmation = False
    user.deleted_at, user.time_zone = clock.now(), None
    session.execute(update(AccessToken).where(AccessToken.user_id == user.id).values(name=""))
    nobody = {"ip_address": "", "user_agent": "", "device_id": None}
    # Lock order of the workers (models/services/gateway/usage_counts.py); another order could deadlock.
    session_ids = select(ProxySession.id).where(ProxySession.user_id == user.id).order_by(ProxySession.id)
    session.execute(
        update(ProxySession).where(ProxySession.id.in_(session_ids.with_for_update(key_share=True))).values(nobody)
    )
    session.flush()
