"""E-mail links: prove access to a mailbox and allow one action once."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, Moment, UuidKey, enum_column
from models.users import User


class LinkPurpose(StrEnum):
    """What a link allows."""

    CONFIRM_EMAIL = "confirm_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a name, not a password
    CHANGE_EMAIL = "change_email"
    SIGN_IN = "sign_in"


class EmailLink(Base):
    """A requested link (`sent_at` is empty), or one that was mailed.

    The row is written before anything checks whether the address has an account, so that response times do not reveal
    it; a job finds the user and sends the mail, or deletes the row. A used link is deleted.
    """

    __tablename__ = "account_links"
    __table_args__ = (
        Index("ix_account_links_asked", "created_at", postgresql_where=text("sent_at IS NULL")),
        Index("ix_account_links_user_id", "user_id"),
        Index("ix_account_links_expires_at", "expires_at"),
    )

    id: Mapped[UuidKey]
    purpose: Mapped[LinkPurpose] = mapped_column(enum_column(LinkPurpose))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(254))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    ip_address: Mapped[str | None] = mapped_column(String(45))
    created_at: Mapped[Moment]
    expires_at: Mapped[Moment]
    sent_at: Mapped[datetime | None]

    user: Mapped[User | None] = relationship()
