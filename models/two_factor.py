"""Two-factor authentication: TOTP secrets and recovery codes."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, Moment, UuidKey
from models.users import User


class TwoFactor(Base):
    """A user's TOTP secret, encrypted (`models.services.crypto.encryption`), and in force once confirmed by a code.

    `last_step` is the time step of the last accepted code: none at or before it is accepted again. `codes_generation`
    counts the sets of recovery codes.
    """

    __tablename__ = "two_factors"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), primary_key=True)
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int] = mapped_column(BigInteger, default=0)
    codes_generation: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    created_at: Mapped[Moment]
    confirmed_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()


class RecoveryCode(Base):
    """A code that replaces the app once. The row is deleted when it is used."""

    __tablename__ = "recovery_codes"

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
