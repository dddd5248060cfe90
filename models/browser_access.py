"""Browser access: one-time tickets from the portal, and the cookies that browsers get for them.

Both are stored as keyed hashes and belong to a token: whatever ends the token ends them.
"""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.access_tokens import AccessToken
from models.base import Base, CreatedAt, UuidKey


class AccessTicket(Base):
    """A link that grants one browser access to a token: single-use, valid for seconds."""

    __tablename__ = "access_tickets"
    __table_args__ = (Index("ix_access_tickets_expires_at", "expires_at"),)

    id: Mapped[UuidKey]
    token_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("access_tokens.id", ondelete="RESTRICT"), index=True)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    token: Mapped[AccessToken] = relationship()


class AccessCookie(Base):
    """What a browser sends instead of the token. It counts as a device of its own, `device_id`."""

    __tablename__ = "access_cookies"
    __table_args__ = (CheckConstraint("char_length(device_id) BETWEEN 8 AND 255", name="device_id_length"),)

    id: Mapped[UuidKey]
    token_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("access_tokens.id", ondelete="RESTRICT"), index=True)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    device_id: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[datetime | None]

    token: Mapped[AccessToken] = relationship()
