"""Notification preferences: topics, and whether a user wants each by mail and by webhook."""

import uuid
from enum import StrEnum

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, enum_column


class Topic(StrEnum):
    """A topic that a user can switch on and off; mails without a topic are about the account and always sent."""

    TOKEN_EXPIRING = "token_expiring"  # noqa: S105 - a name, not a password
    RENEWAL = "renewal"
    OUTAGE_CREDIT = "outage_credit"
    BALANCE_LOW = "balance_low"
    BONUS = "bonus"
    ANNOUNCEMENT = "announcement"
    PAYMENT = "payment"
    REFUND = "refund"
    TOKEN_ENDED = "token_ended"  # noqa: S105
    TOKEN_PAUSED = "token_paused"  # noqa: S105
    LOGIN = "login"


# Receipts and account protection: these mails cannot be switched off.
ALWAYS_MAILED = frozenset({Topic.PAYMENT, Topic.REFUND, Topic.TOKEN_ENDED, Topic.LOGIN})

TOPICS = {
    "token_expiring": Topic.TOKEN_EXPIRING,
    "renewal_ahead": Topic.RENEWAL,
    "renewal_price": Topic.RENEWAL,
    "renewed": Topic.RENEWAL,
    "renewal_stopped": Topic.RENEWAL,
    "outage_credit": Topic.OUTAGE_CREDIT,
    "balance_low": Topic.BALANCE_LOW,
    "bonus": Topic.BONUS,
    "announcement": Topic.ANNOUNCEMENT,
    "payment": Topic.PAYMENT,
    "money_back": Topic.REFUND,
    "token_revoked": Topic.TOKEN_ENDED,
    "tokens_paused": Topic.TOKEN_PAUSED,
    "login": Topic.LOGIN,
}


class NotificationPreference(Base):
    """A user's preference for a topic. Without a row: everything is sent."""

    __tablename__ = "notice_choices"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    topic: Mapped[Topic] = mapped_column(enum_column(Topic), primary_key=True)
    mail: Mapped[bool] = mapped_column(default=True)
    webhook: Mapped[bool] = mapped_column(default=True)
