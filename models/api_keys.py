"""Personal API keys: what a buyer's script shows instead of a password."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, UuidKey, enum_column
from models.users import User


class KeyScope(StrEnum):
    """What a key opens; each one opens what stands before it, too."""

    READ = "read"
    BUY = "buy"
    ADMIN = "admin"

    def opens(self, needed: "KeyScope") -> bool:
        """Say whether this is enough for what is needed."""
        order = list(KeyScope)
        return order.index(self) >= order.index(needed)


class ApiKey(Base):
    """A key, kept as a keyed hash and its first characters; without `expires_at` it lasts until it is ended."""

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
        """Say whether the key opens anything at `moment`."""
        return self.ended_at is None and (self.expires_at is None or self.expires_at > moment)
