"""Webhooks of users: endpoints, and deliveries as rows that are pending, delivered or failed permanently."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint, false, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Moment, Short, UuidKey
from models.users import User

_WAITS = "delivered_at IS NULL AND dead_at IS NULL"


class DeliveryError(StrEnum):
    """Why an attempt to deliver failed, beyond the HTTP status of the response."""

    CERTIFICATE_INVALID = "certificate_invalid"
    CONNECTION_FAILED = "connection_failed"
    CONNECTION_REFUSED = "connection_refused"
    ENDPOINT_DISABLED = "endpoint_disabled"
    ERROR_STATUS = "error_status"
    HOST_PRIVATE = "host_private"
    HOST_UNRESOLVED = "host_unresolved"
    REDIRECTED = "redirected"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 - no password
    TIMEOUT = "timeout"
    TLS_FAILED = "tls_failed"
    # A row of a former version whose text no rule could read; `text` in the details.
    OTHER = "other"


class WebhookEndpoint(Base):
    """A user's endpoint. `secret` is encrypted (models/services/crypto/encryption.py) and signs deliveries.

    `generation` counts its secrets. `failures` counts failed attempts since the last success; after one, nothing is
    sent before `rests_until`. `last_error` says why the address cannot be reached, if known. `disabled_at` is set when
    the platform disabled it, not its owner.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (Index("ix_webhook_endpoints_user_id", "user_id", "created_at"),)

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    url: Mapped[str] = mapped_column(String(500))
    secret: Mapped[bytes] = mapped_column(LargeBinary(128))
    generation: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    topics: Mapped[list[str]] = mapped_column(JSONB)
    enabled: Mapped[bool] = mapped_column(default=True, server_default=true())
    failures: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    rests_until: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(String(300))
    last_error_details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]

    user: Mapped[User] = relationship()


class DeliveryState(StrEnum):
    """A delivery's state; computed from its times."""

    WAITING = "waiting"
    DEAD = "dead"
    DELIVERED = "delivered"


class WebhookDelivery(Base):
    """One notification for one endpoint, with the result of the last attempt. `answer` is the start of the response."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "dedup_key"),
        Index("ix_webhook_deliveries_log", "endpoint_id", text("created_at DESC"), "id"),
        Index("ix_webhook_deliveries_waiting", "next_attempt_at", postgresql_where=text(_WAITS)),
        Index("ix_webhook_deliveries_dead_at", "dead_at", postgresql_where=text("dead_at IS NOT NULL")),
        Index(
            "ix_webhook_deliveries_delivered_at",
            text("delivered_at DESC"),
            "id",
            postgresql_where=text("delivered_at IS NOT NULL"),
        ),
    )

    id: Mapped[UuidKey]
    endpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    kind: Mapped[Short]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    dedup_key: Mapped[str] = mapped_column(String(120))
    is_test: Mapped[bool] = mapped_column(default=False, server_default=false())
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    next_attempt_at: Mapped[Moment] = mapped_column(server_default=text("now()"))
    attempted_at: Mapped[datetime | None]
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(300))
    error_details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))
    answer: Mapped[str | None] = mapped_column(String(500))
    milliseconds: Mapped[int | None]
    delivered_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]

    endpoint: Mapped[WebhookEndpoint] = relationship()

    @property
    def state(self) -> DeliveryState:
        """Return the delivery's state."""
        if self.delivered_at is not None:
            return DeliveryState.DELIVERED
        return DeliveryState.WAITING if self.dead_at is None else DeliveryState.DEAD
