"""Telling owners that a token which does not renew itself is about to end, once for each time that was paid."""

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
    """Return tokens whose owners are to be told that they end, those that end first coming first."""
    return list(
        session.scalars(select(AccessToken.id).where(_needs_notification(settings)).order_by(ENDS_AT).limit(limit))
    )


def notify(session: Session, token_id: uuid.UUID, settings: Settings) -> bool:
    """Tell the owner of a token that it ends; says whether he was to be told.

    The row lock is the claim: of two jobs at the same instant one finds nothing, and so does one that comes after the
    token was extended, paused or revoked.
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
    """Running tokens that end within the hours of the settings, or half of what they buy if that is less.

    `ENDS_AT` is what the index is made of: times without a zone, in UTC.
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
