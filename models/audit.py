"""Audit log: one row for each relevant change, written in the same transaction."""

import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base, CreatedAt, Short, enum_column
from models.users import User


class AuditAction(StrEnum):
    """Every audited action; the log can be filtered by these values."""

    USER_REGISTERED = "user.registered"
    USER_REGISTERED_AGAIN = "user.registered_again"
    USER_LOGGED_IN = "user.logged_in"
    USER_LOGIN_FAILED = "user.login_failed"
    USER_LOGGED_OUT = "user.logged_out"
    USER_LOGINS_ENDED = "user.logins_ended"
    USER_PASSWORD_CHANGED = "user.password_changed"  # noqa: S105 - a name, not a password
    USER_PASSWORD_RESET_ASKED = "user.password_reset_asked"  # noqa: S105
    USER_PASSWORD_RESET = "user.password_reset"  # noqa: S105
    USER_EMAIL_CONFIRMED = "user.email_confirmed"
    USER_EMAIL_CHANGED = "user.email_changed"
    USER_DELETED = "user.deleted"
    USER_EXPORTED = "user.exported"
    USER_VIEWED = "user.viewed"
    TWO_FACTOR_ON = "two_factor.on"
    TWO_FACTOR_OFF = "two_factor.off"
    TWO_FACTOR_RESET = "two_factor.reset"
    RECOVERY_CODE_USED = "recovery_code.used"
    RECOVERY_CODES_MADE = "recovery_code.made"
    USER_DISABLED = "user.disabled"
    USER_NOTED = "user.noted"
    USER_ENABLED = "user.enabled"
    USER_CHANGED = "user.changed"
    USER_PROMOTED = "user.promoted"
    USER_DEMOTED = "user.demoted"
    API_KEY_MADE = "api_key.made"
    API_KEY_ENDED = "api_key.ended"
    BALANCE_ADJUSTED = "balance.adjusted"
    PAYMENT_CREATED = "payment.created"
    PAYMENT_SETTLED = "payment.settled"
    PAYMENT_CANCELED = "payment.canceled"
    PAYMENT_EXPIRED = "payment.expired"
    PAYMENT_REFUND_REQUESTED = "payment.refund_requested"
    PAYMENT_REFUND_REFUSED = "payment.refund_refused"
    PAYMENT_REFUNDED = "payment.refunded"
    PAYMENT_DISPUTED = "payment.disputed"
    PAYMENT_DISPUTE_WON = "payment.dispute_won"
    PAYMENT_REVIEWED = "payment.reviewed"
    PAYMENT_NEEDS_REVIEW = "payment.needs_review"
    UNCLAIMED_BOOKED = "unclaimed.booked"
    TOKEN_PURCHASED = "token.purchased"  # noqa: S105
    TOKEN_ACTIVATED = "token.activated"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    TOKEN_PAUSED = "token.paused"  # noqa: S105
    TOKEN_RESUMED = "token.resumed"  # noqa: S105
    TOKEN_EXTENDED = "token.extended"  # noqa: S105
    TOKEN_RENAMED = "token.renamed"  # noqa: S105
    TOKEN_ROTATED = "token.rotated"  # noqa: S105
    TOKEN_SECRET_ENDED = "token.secret_ended"  # noqa: S105
    TOKEN_AUTO_RENEW_SET = "token.auto_renew_set"  # noqa: S105
    TOKEN_RENEWED = "token.renewed"  # noqa: S105
    TOKEN_RENEWAL_STOPPED = "token.renewal_stopped"  # noqa: S105
    TOKEN_FORCE_REVOKED = "token.force_revoked"  # noqa: S105
    ANNOUNCEMENT_CHANGED = "announcement.changed"
    JOB_CHANGED = "job.changed"
    SETTING_CHANGED = "setting.changed"
    BUNDLE_PURCHASED = "bundle.purchased"
    BUNDLE_CHANGED = "bundle.changed"
    COUPON_CHANGED = "coupon.changed"
    GIFTS_MADE = "gift.made"
    GIFT_CHANGED = "gift.changed"
    GIFT_REDEEMED = "gift.redeemed"
    BONUS_EARNED = "bonus.earned"
    BONUS_CORRECTED = "bonus.corrected"
    BONUS_LAPSED = "bonus.lapsed"
    BONUS_VESTED = "bonus.vested"
    TOKEN_CREDITED = "token.credited"  # noqa: S105
    TOKEN_ISSUED = "token.issued"  # noqa: S105
    TICKET_ISSUED = "ticket.issued"
    COOKIE_OPENED = "cookie.opened"
    SESSION_OPENED = "session.opened"
    SESSION_TAKEN_OVER = "session.taken_over"
    SESSION_CUT = "session.cut"
    SESSION_RELEASED = "session.released"
    INSPECTION_STARTED = "inspection.started"
    INSPECTION_ENDED = "inspection.ended"
    MAIL_SENT_AGAIN = "mail.sent_again"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_SENT_AGAIN = "webhook.sent_again"


class Origin(StrEnum):
    """Which component wrote a row: a page, the API, the gateway, a job, or a command."""

    PAGE = "page"
    API = "api"
    PROXY = "proxy"
    JOB = "job"
    COMMAND = "command"

    @property
    def is_request(self) -> bool:
        """Whether a request caused the row, so that it has an IP address."""
        return self in {Origin.PAGE, Origin.API, Origin.PROXY}


class AuditEntry(Base):
    """Who did what to whom, and from where. `actor_id` is empty when the platform itself acted.

    Rows are only ever added; a trigger enforces this and allows deleting exported ones.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_created_at", "created_at"),
        Index("ix_audit_entries_user_id_id", "user_id", text("id DESC")),
        Index("ix_audit_entries_action_id", "action", text("id DESC")),
        Index("ix_audit_entries_actor_id_id", "actor_id", text("id DESC")),
        Index("ix_audit_entries_request_id", "request_id", postgresql_where=text("request_id IS NOT NULL")),
        Index("ix_audit_entries_resource", "resource_type", "resource_id"),
        Index("ix_audit_entries_resource_type_id", "resource_type", text("id DESC")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    created_at: Mapped[CreatedAt]
    action: Mapped[AuditAction] = mapped_column(enum_column(AuditAction, 64))
    actor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    resource_type: Mapped[Short]
    resource_id: Mapped[uuid.UUID | None]
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(300))
    # The response's X-Request-ID, also shown on error pages.
    request_id: Mapped[str | None] = mapped_column(String(64))
    # Empty in rows from before this column.
    origin: Mapped[Origin | None] = mapped_column(enum_column(Origin, 16))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default=text("'{}'::jsonb"))

    actor: Mapped[User | None] = relationship(foreign_keys=[actor_id])
    user: Mapped[User | None] = relationship(foreign_keys=[user_id])
