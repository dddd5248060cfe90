"""Proxy sessions: which device used a token, from where, and with how many requests and bytes."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.access_tokens import AccessToken
from models.base import Base, UuidKey
from models.users import User


class ProxySession(Base):
    """One device's use of one token. The partial unique index lets exactly one be open for each token.

    Bytes are body bytes as carried, without chunk framing (docs/spec/http.md#sessions-and-bytes).
    """

    __tablename__ = "proxy_sessions"
    __table_args__ = (
        Index("uq_proxy_sessions_open", "token_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("ix_proxy_sessions_token_id_started_at", "token_id", text("started_at DESC"), "id"),
        Index("ix_proxy_sessions_user_id_started_at", "user_id", "started_at"),
        Index("ix_proxy_sessions_started_at", text("started_at DESC"), "id"),
        Index("ix_proxy_sessions_open", text("started_at DESC"), "id", postgresql_where=text("ended_at IS NULL")),
        Index("ix_proxy_sessions_idle", "last_activity", postgresql_where=text("ended_at IS NULL")),
        CheckConstraint("request_count >= 0 AND bytes_in >= 0 AND bytes_out >= 0", name="counts_not_negative"),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    token_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("access_tokens.id", ondelete="RESTRICT"))
    device_id: Mapped[str | None] = mapped_column(String(255))
    ip_address: Mapped[str] = mapped_column(String(45))
    user_agent: Mapped[str] = mapped_column(String(300), default="")
    started_at: Mapped[datetime]
    last_activity: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    request_count: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_in: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_out: Mapped[int] = mapped_column(BigInteger, default=0)

    user: Mapped[User] = relationship()
    token: Mapped[AccessToken] = relationship()

    @property
    def bytes_transferred(self) -> int:
        return self.bytes_in + self.bytes_out
