"""Personal API keys for users' scripts."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, UuidKey, enum_column
from models.users import User


class KeyScope(StrEnum):
    """What a key may do; each scope includes the ones before it."""

    READ = "read"
    BUY = "buy"
    ADMIN = "admin"

    def includes(self, needed: "KeyScope") -> bool:
        """Return whether this scope includes the one needed."""
        order = list(KeyScope)
        return order.index(self) >= order.index(needed)


class ApiKey(Base):
    """A key, stored as a keyed hash and its first characters; without `expires_at` it is valid until revoked."""

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_user_id_created_at", "user_id", "created_at"),)

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    name: Mapped[str] = mapped_column(String(50))
    scope: Mapped[KeyScope] = mapped_column(enum_column(KeyScope, 8))
    prefix: Mapped[str] = mapped_column(String(8))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[CreatedAt]
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()

    def is_open(self, moment: datetime) -> bool:
        """Return whether the key is valid at `moment`."""
        return self.ended_at is None and (self.expires_at is None or self.expires_at > moment)
