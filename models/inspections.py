"""Traffic inspections: for a time, the proxy workers publish finished flows to operators, without secrets."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.access_tokens import AccessToken
from models.base import Base, Moment, UuidKey, enum_column
from models.users import User


class InspectionTarget(StrEnum):
    """What an inspection is about."""

    EVERYTHING = "everything"
    PATH = "path"
    TOKEN = "token"  # noqa: S105 - a name, not a secret
    USER = "user"


class Inspection(Base):
    """What is inspected, by whom, and until when; it ends by itself or earlier by an admin."""

    __tablename__ = "inspections"
    __table_args__ = (
        CheckConstraint("(target = 'path') = (path IS NOT NULL)", name="path_of_a_path"),
        CheckConstraint("(target = 'token') = (token_id IS NOT NULL)", name="token_of_a_token"),
        CheckConstraint("(target = 'user') = (user_id IS NOT NULL)", name="user_of_a_user"),
        # Whatever the settings say: one decision inspects for a day at most.
        CheckConstraint("ends_at > started_at AND ends_at - started_at <= interval '1 day'", name="ends_within_a_day"),
        CheckConstraint("(ended_at IS NULL) = (ended_by_id IS NULL)", name="ended_by_somebody"),
        Index("ix_inspections_started_at_id", text("started_at DESC"), "id"),
        Index("ix_inspections_running", "ends_at", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[UuidKey]
    target: Mapped[InspectionTarget] = mapped_column(enum_column(InspectionTarget, 16))
    path: Mapped[str | None] = mapped_column(String(200))
    token_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("access_tokens.id", ondelete="RESTRICT"))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    reason: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[Moment]
    started_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    ends_at: Mapped[Moment]
    ended_at: Mapped[datetime | None]
    ended_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))

    token: Mapped[AccessToken | None] = relationship()
    user: Mapped[User | None] = relationship(foreign_keys=[user_id])
    started_by: Mapped[User] = relationship(foreign_keys=[started_by_id])
    ended_by: Mapped[User | None] = relationship(foreign_keys=[ended_by_id])

    def is_running(self, moment: datetime) -> bool:
        """Return whether flows are published at `moment`."""
        return self.ended_at is None and self.ends_at > moment
