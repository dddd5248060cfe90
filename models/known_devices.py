"""Known devices: browsers and programs that a user has logged in with."""

import uuid

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Moment


class KnownDevice(Base):
    """A device that a user has logged in with. `mark` is the hash of what it sends: a browser's long-lived cookie."""

    __tablename__ = "known_devices"
    __table_args__ = (Index("ix_known_devices_seen_at", "seen_at"),)

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    mark: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    seen_at: Mapped[Moment]
