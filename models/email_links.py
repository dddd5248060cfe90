"""Links that are mailed: they prove that somebody reads the mail of an address, and let him do one thing once."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, Moment, UuidKey, enum_column
from models.users import User


class LinkPurpose(StrEnum):
    """What a link lets its reader do."""

    CONFIRM_EMAIL = "confirm_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a name, not a password
    CHANGE_EMAIL = "change_email"
    SIGN_IN = "sign_in"


class EmailLink(Base):
    """A link that was asked for (`sent_at` is empty), or that waits in somebody's mail.

    The row is written before anybody looks whether the address has an account, so that the page which asks takes
    equally long either way; a job finds the user and sends the mail, or removes the row. A link that was used is gone.
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
