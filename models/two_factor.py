"""The second factor: a secret shared with an authenticator app, and codes for who has lost it."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, Moment, UuidKey
from models.users import User


class TwoFactor(Base):
    """A user's TOTP secret, sealed (`models.services.crypto.encryption`). It counts once a code has confirmed it.

    `last_step` is the time step of the code that was taken last: none at or before it is taken again.
    `codes_generation` counts the sets of recovery codes that were made.
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
    """A code that stands in for the app once. The row goes when it is used."""

    __tablename__ = "recovery_codes"

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
