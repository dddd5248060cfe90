"""Announcements: created and withdrawn by admins, shown to everybody while active."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from models import clock
from models.announcements import Announcement, Level
from models.audit import AuditAction
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import InvalidInput, NotFound
from models.services.insertion import insert_unless_taken
from models.services.notifications import broadcast
from models.services.pagination import ListQuery

# At most this many are shown at once.
SHOWN = 3


def create(
    session: Session,
    *,
    level: Level,
    words_en: str,
    words_ru: str,
    starts_at: datetime | None,
    ends_at: datetime | None,
    actor: Actor,
    announcement_id: uuid.UUID | None = None,
) -> Announcement:
    """Create an announcement in both languages, starting now or later, and notify everybody who wants it.

    A form that carries the id creates one: the second time returns the existing one. Raises InvalidInput.
    """
    if actor.user_id is None:
        raise ValueError("an announcement has an author")
    starts_at = starts_at or clock.now()
    if ends_at is not None:
        check_end(starts_at, ends_at)
    announcement_id = announcement_id or uuid.uuid4()
    made = insert_unless_taken(
        session,
        Announcement,
        id=announcement_id,
        level=level,
        words_en=text_validation.one_line(words_en, field="words_en", at_least=3, at_most=300),
        words_ru=text_validation.one_line(words_ru, field="words_ru", at_least=3, at_most=300),
        starts_at=starts_at,
        ends_at=ends_at,
        author_id=actor.user_id,
    )
    if made is None:
        return by_id(session, announcement_id)
    _record(session, made, actor, words=made.words_en)
    # Notified at once even with a later start: planned maintenance is news before it begins.
    broadcast.enqueue_for_all(
        session,
        "announcement",
        dedup_key=f"announcement:{made.id}",
        words={"en": made.words_en, "ru": made.words_ru},
        starts=starts_at.isoformat(),
        ends=ends_at.isoformat() if ends_at else None,
    )
    return made


def check_end(starts_at: datetime | None, ends_at: datetime) -> None:
    """Raise InvalidInput for an end in the past or before the start."""
    if ends_at <= max(starts_at or clock.now(), clock.now()):
        raise InvalidInput("ends_at", "announcement_end_invalid")


def by_id(session: Session, announcement_id: uuid.UUID, *, lock: bool = False) -> Announcement:
    """Return an announcement. Raises NotFound."""
    found = session.get(Announcement, announcement_id, with_for_update=lock or None)
    if found is None:
        raise NotFound("announcement")
    return found


def withdraw(session: Session, announcement_id: uuid.UUID, *, actor: Actor) -> Announcement:
    """Withdraw an announcement; a second call changes nothing. Raises NotFound."""
    found = by_id(session, announcement_id, lock=True)
    if found.withdrawn_at is None:
        found.withdrawn_at = clock.now()
        session.flush()
        _record(session, found, actor, withdrawn=True)
    return found


def current_announcements(session: Session) -> Sequence[Announcement]:
    """Return the active announcements, newest first."""
    moment = clock.now()
    query = select(Announcement).where(
        Announcement.withdrawn_at.is_(None),
        Announcement.starts_at <= moment,
        or_(Announcement.ends_at.is_(None), Announcement.ends_at > moment),
    )
    return session.scalars(query.order_by(Announcement.starts_at.desc(), Announcement.id).limit(SHOWN)).all()


def list_announcements() -> ListQuery[Announcement]:
    """Return the list of all announcements, newest first."""
    query = select(Announcement).options(joinedload(Announcement.author))
    return ListQuery(query, (Announcement.created_at.desc(), Announcement.id))


def _record(session: Session, found: Announcement, actor: Actor, **facts: object) -> None:
    resource = ("announcement", found.id)
    action = AuditAction.ANNOUNCEMENT_CHANGED
    audit_log.record(session, action, actor, user_id=actor.user_id, resource=resource, **facts)
