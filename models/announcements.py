"""Announcements: messages from admins to all users, shown for a time."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Moment, UuidKey, enum_column
from models.users import User


class Level(StrEnum):
    """How urgent an announcement is."""

    INFO = "info"
    WARN = "warn"
    BAD = "bad"


class Announcement(Base):
    """A text in both languages, shown between two times; without an end until it is withdrawn."""

    __tablename__ = "announcements"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="ends_after_start"),
        Index("ix_announcements_showing", "starts_at", postgresql_where=text("withdrawn_at IS NULL")),
    )

    id: Mapped[UuidKey]
    level: Mapped[Level] = mapped_column(enum_column(Level, 8))
    words_en: Mapped[str] = mapped_column(String(300))
    words_ru: Mapped[str] = mapped_column(String(300))
    starts_at: Mapped[Moment]
    ends_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    created_at: Mapped[CreatedAt]

    author: Mapped[User] = relationship()
