"""Expiry notifications for tokens without auto-renewal, once for each paid period."""

import uuid
from datetime import UTC, timedelta

from sqlalchemy import ColumnElement, DateTime, func, literal_column, select, true
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import ENDS, HOUR, AccessToken, pauses_at
from models.config.settings import Settings
from models.services.notifications import outbox
from models.users import User

ENDS_AT = literal_column(ENDS, DateTime(timezone=False))


def due_to_notify(session: Session, settings: Settings, *, limit: int = 500) -> list[uuid.UUID]:
    """Return tokens whose owners have to be notified of the expiry, first to expire first."""
    return list(
        session.scalars(select(AccessToken.id).where(_needs_notification(settings)).order_by(ENDS_AT).limit(limit))
    )


def notify(session: Session, token_id: uuid.UUID, settings: Settings) -> bool:
    """Notify a token's owner of its expiry; return whether that was due.

    The row lock is the claim: a concurrent job finds nothing, and neither does one after an extension, pause or
    revocation.
    """
    token = session.scalars(
        select(AccessToken)
        .where(AccessToken.id == token_id, _needs_notification(settings))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if token is None or token.expires_at is None:
        return False
    token.end_told_for = token.paid_seconds
    owner = session.get_one(User, token.user_id)
    outbox.enqueue_mail(
        session,
        "token_expiring",
        owner,
        dedup_key=f"token_expiring:{token.id}:{token.paid_seconds}",
        username=owner.username,
        token_id=str(token.id),
        name=token.name or f"{token.prefix}…",
        ends=token.expires_at.isoformat(),
    )
    return True


def _needs_notification(settings: Settings) -> ColumnElement[bool]:
    """Return an SQL condition: running tokens that expire within the configured hours, or half their duration if less.

    `ENDS_AT` matches the index: a time without zone, in UTC.
    """
    hours = settings.notices.expiring_hours
    now = clock.now().astimezone(UTC).replace(tzinfo=None)
    ahead = func.make_interval(0, 0, 0, 0, 0, 0, AccessToken.duration_hours * (HOUR // 2))
    runs = (
        AccessToken.activated_at.is_not(None)
        & AccessToken.revoked_at.is_(None)
        & ~pauses_at(clock.now())
        & (AccessToken.auto_renew != true())
    )
    soon = (now < ENDS_AT) & (now + timedelta(hours=hours) >= ENDS_AT) & (ENDS_AT - ahead <= now)
    return runs & soon & AccessToken.end_told_for.is_distinct_from(AccessToken.paid_seconds)
