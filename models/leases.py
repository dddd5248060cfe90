"""Leases: which of several processes performs a task that only one may perform, and until when."""

import uuid

from sqlalchemy import Uuid
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Moment, Short


class Lease(Base):
    """The process that holds a task, by a random id, until a moment of the database's clock."""

    __tablename__ = "leases"

    name: Mapped[Short] = mapped_column(primary_key=True)
    holder: Mapped[uuid.UUID] = mapped_column(Uuid)
    expires_at: Mapped[Moment]
