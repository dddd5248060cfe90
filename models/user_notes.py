"""Admins' notes about users. Only ever added to."""

import uuid

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt
from models.users import User


class UserNote(Base):
    """One note; the user never sees it in the portal."""

    __tablename__ = "user_notes"
    __table_args__ = (Index("ix_user_notes_user_id_id", "user_id", text("id DESC")),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    text: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[CreatedAt]

    author: Mapped[User] = relationship(foreign_keys=[author_id])
