"""Login sessions: browsers and programs that a user is logged in with."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, Moment, UuidKey, enum_column
from models.users import User


class LoginKind(StrEnum):
    """What identifies a login: a cookie of the portal's pages, or a token of the JSON API (its `jti`)."""

    PAGE = "page"
    API = "api"


class Login(Base):
    """One login session. The signed cookie or token is worthless once the row has ended.

    `password_version` is the user's at that time: a login that began with the old password during a password change is
    invalid, whichever of the two commits came first.
    """

    __tablename__ = "logins"
    __table_args__ = (
        Index("ix_logins_open", "user_id", "last_seen_at", postgresql_where=text("ended_at IS NULL")),
        Index("ix_logins_expires_at", "expires_at"),
        CheckConstraint("expires_at > created_at", name="lasts"),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    kind: Mapped[LoginKind] = mapped_column(enum_column(LoginKind, 8))
    password_version: Mapped[int]
    created_at: Mapped[Moment]
    last_seen_at: Mapped[Moment]
    expires_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str] = mapped_column(String(300), default="")

    # The user whom an admin impersonates, and until when.
    viewed_user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    viewed_until: Mapped[datetime | None]

    user: Mapped[User] = relationship(foreign_keys=[user_id])
    viewed_user: Mapped[User | None] = relationship(foreign_keys=[viewed_user_id])
