"""Mail outbox: a mail is a row in the transaction that caused it, and a job sends it afterwards."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Short, UuidKey
from models.users import User


class MailState(StrEnum):
    """A mail's state; computed from its times."""

    WAITING = "waiting"
    FAILED = "failed"
    SENT = "sent"


class OutboxMail(Base):
    """A mail that is pending, was sent (`sent_at`) or failed permanently (`failed_at`).

    It is rendered from `kind` and `context` when it is sent, in its recipient's language at that time
    (`models/services/notifications/mail_rendering.py`). `dedup_key` makes enqueuing the same notification twice a
    single mail.
    """

    __tablename__ = "outbox_mails"
    __table_args__ = (
        Index(
            "ix_outbox_mails_waiting",
            "next_attempt_at",
            postgresql_where=text("sent_at IS NULL AND failed_at IS NULL"),
        ),
        Index("ix_outbox_mails_sent_at", text("sent_at DESC"), "id", postgresql_where=text("sent_at IS NOT NULL")),
        Index("ix_outbox_mails_failed_at", "failed_at", postgresql_where=text("failed_at IS NOT NULL")),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    kind: Mapped[Short]
    recipient: Mapped[str] = mapped_column(String(254))
    context: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    dedup_key: Mapped[str] = mapped_column(String(120), unique=True)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    last_error: Mapped[str | None] = mapped_column(String(300))
    sent_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]

    user: Mapped[User | None] = relationship()
