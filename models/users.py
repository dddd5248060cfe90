"""Users: customers and admins."""

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, CreatedAt, Moment, UuidKey, Znc
from models.translations import DEFAULT


class User(Base):
    """A user account. `password_version` grows with each change and invalidates older logins."""

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_email", func.lower(text("email")), unique=True),
        Index("uq_users_username", func.lower(text("username")), unique=True),
        CheckConstraint("char_length(username) BETWEEN 3 AND 50", name="username_length"),
        CheckConstraint("char_length(referral_code) = 12", name="referral_code_length"),
        CheckConstraint("referrer_id <> id", name="nobody_refers_himself"),
        # Searched by trigrams: any part of an address or a name.
        Index(
            "ix_users_words",
            "email",
            "username",
            postgresql_using="gin",
            postgresql_ops={"email": "gin_trgm_ops", "username": "gin_trgm_ops"},
        ),
        Index("ix_users_created_at", text("created_at DESC"), "id"),
        Index("ix_users_active", text("created_at DESC"), "id", postgresql_where=text("is_active")),
        Index("ix_users_referrer_id", "referrer_id", text("created_at DESC"), "id"),
        Index("ix_users_disabled", "created_at", postgresql_where=text("NOT is_active")),
        Index("ix_users_superusers", "created_at", postgresql_where=text("is_superuser")),
        CheckConstraint("low_balance_znc >= 0", name="low_balance_not_negative"),
    )

    id: Mapped[UuidKey]
    email: Mapped[str] = mapped_column(String(254))
    username: Mapped[str] = mapped_column(String(50))
    full_name: Mapped[str | None] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(200))
    password_version: Mapped[int] = mapped_column(default=1)
    is_active: Mapped[bool] = mapped_column(default=True)
    is_superuser: Mapped[bool] = mapped_column(default=False)
    # Set on registration while mail can be sent, until the user follows the link in it.
    awaits_confirmation: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    referral_code: Mapped[str] = mapped_column(String(12), unique=True)
    referrer_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    # The language of mails: the portal's when the user registered, or the user's last choice.
    language: Mapped[str] = mapped_column(String(2), default=DEFAULT, server_default=text(f"'{DEFAULT}'"))
    # For displayed times and daily counts: from the browser at first, then the user's choice. Empty: UTC.
    time_zone: Mapped[str | None] = mapped_column(String(64))
    # The user is notified when the balance falls below it; 0: never.
    low_balance_znc: Mapped[Znc] = mapped_column(default=Decimal(0), server_default=text("0"))
    deleted_at: Mapped[datetime | None]
    # Of a deleted user: the keyed hash of the address, by which a new registration is recognised. Of the new user: the
    # id of that former account.
    address_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32), index=True)
    former_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[Moment] = mapped_column(server_default=text("now()"), onupdate=func.now())

    def __repr__(self) -> str:
        return f"<User {self.id}>"
