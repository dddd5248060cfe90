"""Access tokens: keyed hash of the secret, paid time, state and expiry."""

import math
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    case,
    false,
    func,
    literal,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models import clock
from models.base import Base, CreatedAt, Short, UuidKey, Znc, enum_column
from models.bundles import BundlePurchase
from models.users import User

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement


HOUR = 3600
# `AccessToken.ends_at` in UTC without a zone: an index expression must be immutable.
ENDS = (
    "((access_tokens.activated_at AT TIME ZONE 'UTC') + make_interval(secs => (access_tokens.paid_seconds + "
    "access_tokens.paused_seconds + access_tokens.pause_limit_seconds + access_tokens.credited_seconds)"
    "::double precision))"
)
_ENDS = text(ENDS.replace("access_tokens.", ""))
_CLOCK = ("paid_seconds", "paused_seconds", "pause_limit_seconds", "credited_seconds")
_STARTED = text("revoked_at IS NULL AND activated_at IS NOT NULL")


class TokenOrigin(StrEnum):
    """How a token was created."""

    PURCHASE = "purchase"
    DEMO = "demo"


class TokenState(StrEnum):
    """A token's state at a given moment; computed, never stored."""

    READY = "ready"
    ACTIVE = "active"
    PAUSED = "paused"
    EXPIRED = "expired"
    REVOKED = "revoked"


class AccessToken(Base):
    """Paid time, which starts to run at the first admitted request.

    State, used and remaining seconds and the expiry are computed here for any moment from the columns.
    `pause_limit_seconds` limits the current pause; at that limit the time runs on, whether or not the job has ended the
    pause yet.
    `version` grows with every change, so that a worker never replaces a newer row by an older one; `generation` with
    every new secret. The previous secret (`previous_hash`) is accepted until `previous_until`.
    """

    __tablename__ = "access_tokens"
    __table_args__ = (
        CheckConstraint("price_paid >= 0", name="price_not_negative"),
        CheckConstraint("paid_seconds > 0", name="paid_seconds_positive"),
        CheckConstraint("paused_seconds >= 0 AND credited_seconds >= 0", name="added_seconds_not_negative"),
        # The tokens of a bundle share one price: one may be refunded what another kept
        # (models/services/tokens/bundle_refunds.py).
        CheckConstraint("refund_amount <= price_paid OR bundle_purchase_id IS NOT NULL", name="refund_within_price"),
        CheckConstraint("(revoked_at IS NULL) = (refund_amount IS NULL)", name="revoked_with_refund"),
        CheckConstraint("(paused_at IS NULL) = (pause_limit_seconds = 0)", name="paused_with_limit"),
        Index("ix_access_tokens_user_id_created_at", "user_id", "created_at"),
        CheckConstraint("(previous_hash IS NULL) = (previous_until IS NULL)", name="previous_with_end"),
        CheckConstraint("(bundle_purchase_id IS NULL) = (bundle_share IS NULL)", name="bundle_with_share"),
        CheckConstraint("bundle_share >= 0 AND bundle_share <= price_paid", name="share_within_price"),
        Index("ix_access_tokens_prefix", "prefix", postgresql_ops={"prefix": "text_pattern_ops"}),
        # With all columns that determine a token's state.
        Index(
            "ix_access_tokens_created_at",
            *(text("created_at DESC"), "id"),
            postgresql_include=["activated_at", "paused_at", "revoked_at", *_CLOCK],
        ),
        Index("ix_access_tokens_unused", "created_at", postgresql_where=text("activated_at IS NULL")),
        Index(
            "ix_access_tokens_ends",
            _ENDS,
            postgresql_where=_STARTED,
            # PostgreSQL reads an indexed expression from an index-only scan only if its columns are in the index, too.
            postgresql_include=["activated_at", "paused_at", *_CLOCK],
        ),
        Index("ix_access_tokens_user_id_ends", "user_id", _ENDS, postgresql_where=_STARTED),
        Index(
            "ix_access_tokens_revoked",
            text("created_at DESC"),
            "id",
            postgresql_where=text("revoked_at IS NOT NULL"),
        ),
        # One for each case of a token that has not ended: PostgreSQL takes the parts of an OR one by one.
        Index(
            "ix_access_tokens_user_id_unused",
            "user_id",
            postgresql_where=text("revoked_at IS NULL AND activated_at IS NULL"),
        ),
        Index("ix_access_tokens_renewing", "id", postgresql_where=text("auto_renew AND revoked_at IS NULL")),
        Index("ix_access_tokens_paused_at", "paused_at", postgresql_where=text("paused_at IS NOT NULL")),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    name: Mapped[str] = mapped_column(String(50), default="")
    prefix: Mapped[str] = mapped_column(String(8))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    generation: Mapped[int] = mapped_column(default=1, server_default=text("1"))
    previous_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32), unique=True)
    previous_until: Mapped[datetime | None]
    origin: Mapped[TokenOrigin] = mapped_column(enum_column(TokenOrigin), default=TokenOrigin.PURCHASE)
    scope: Mapped[Short]
    duration_hours: Mapped[int]
    paid_seconds: Mapped[int] = mapped_column(BigInteger)
    paused_seconds: Mapped[int] = mapped_column(BigInteger, default=0)
    credited_seconds: Mapped[int] = mapped_column(BigInteger, default=0)
    price_paid: Mapped[Znc]
    # Bundle tokens: the purchase, and the token's share of its price.
    bundle_purchase_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("bundle_purchases.id", ondelete="RESTRICT"), index=True
    )
    bundle_share: Mapped[Znc | None]
    # Revoked bundle tokens: the price at the list rate. None: the refund settled it.
    bundle_charge: Mapped[Znc | None]
    # The price list at the purchase, hours to ZNC; None for older tokens.
    list_prices: Mapped[dict[str, str] | None] = mapped_column(JSONB(none_as_null=True))
    activated_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    pause_limit_seconds: Mapped[int] = mapped_column(BigInteger, default=0, server_default=text("0"))
    revoked_at: Mapped[datetime | None]
    refund_amount: Mapped[Znc | None]
    auto_renew: Mapped[bool] = mapped_column(default=False, server_default=false())
    # The paid time for whose end the owner was notified; see models/services/tokens/renewal.py.
    renewal_told_for: Mapped[int | None] = mapped_column(BigInteger)
    # The price announced for the next renewal: more is not charged. And a higher price announced since, which the owner
    # has not accepted yet.
    renewal_price: Mapped[Znc | None]
    renewal_asked_price: Mapped[Znc | None]
    # The paid time for whose end the owner was notified; see models/services/tokens/expiry_notices.py.
    end_told_for: Mapped[int | None] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[CreatedAt]

    user: Mapped[User] = relationship()
    bundle_purchase: Mapped[BundlePurchase | None] = relationship()

    def list_prices_or(self, present: Mapping[int, Decimal]) -> Mapping[int, Decimal]:
        """Return the price list at the token's purchase, hours to ZNC; `present` where it was not stored."""
        if self.list_prices is None:
            return present
        return {int(hours): Decimal(price) for hours, price in self.list_prices.items()}

    @hybrid_property
    def ends_at(self) -> datetime | None:
        """Return when the token expires if its current pause lasts to its limit; None before activation.

        activated_at + paid time + paused time + outage credit. A pause begins while time is left, so a token has
        expired if and only if this moment has passed, paused or not.
        """
        if self.activated_at is None:
            return None
        stopped = self.paused_seconds + self.pause_limit_seconds + self.credited_seconds
        return self.activated_at + timedelta(seconds=self.paid_seconds + stopped)

    @ends_at.inplace.expression
    @classmethod
    def _ends_at_in_sql(cls) -> "ColumnElement[datetime | None]":
        seconds = cls.paid_seconds + cls.paused_seconds + cls.pause_limit_seconds + cls.credited_seconds
        return cls.activated_at + func.make_interval(0, 0, 0, 0, 0, 0, seconds)

    @hybrid_property
    def paused_until(self) -> datetime | None:
        """Return when the current pause reaches its limit; None without one."""
        return None if self.paused_at is None else self.paused_at + timedelta(seconds=self.pause_limit_seconds)

    @paused_until.inplace.expression
    @classmethod
    def _paused_until_in_sql(cls) -> "ColumnElement[datetime | None]":
        return cls.paused_at + func.make_interval(0, 0, 0, 0, 0, 0, cls.pause_limit_seconds)

    @property
    def expires_at(self) -> datetime | None:
        """Return when the token expires as of now; None before activation and while paused."""
        return self.expiry(clock.now())

    def expiry(self, moment: datetime) -> datetime | None:
        """Return when the token expires as of `moment`; None before activation and while paused."""
        return None if self.is_paused(moment) else self.ends_at

    def is_paused(self, moment: datetime) -> bool:
        """Return whether the token's time is paused at `moment`."""
        return self.paused_until is not None and moment < self.paused_until

    def has_previous(self, moment: datetime) -> bool:
        """Return whether the previous secret is still accepted."""
        return self.previous_until is not None and self.previous_until > moment

    def state(self, moment: datetime) -> TokenState:
        """Return the token's state at `moment`."""
        if self.revoked_at is not None:
            return TokenState.REVOKED
        if self.is_paused(moment):
            return TokenState.PAUSED
        if self.ends_at is None:
            return TokenState.READY
        return TokenState.EXPIRED if self.ends_at <= moment else TokenState.ACTIVE

    def used_seconds(self, moment: datetime) -> int:
        """Return the paid seconds used by `moment`: since activation, less pauses and outage credit.

        A begun second counts as used, so that no token that ran is refunded in full.
        """
        if self.activated_at is None:
            return 0
        ran_until = moment
        if self.paused_at is not None:
            # While paused, the time stands at the pause's start; after the limit it lags by the limit.
            ran_until = max(min(moment, self.paused_at), moment - timedelta(seconds=self.pause_limit_seconds))
        elapsed = math.ceil((ran_until - self.activated_at).total_seconds())
        return max(0, elapsed - self.paused_seconds - self.credited_seconds)

    def stopped_seconds(self, moment: datetime) -> int:
        """Return the whole seconds of pauses by `moment`, the current one included."""
        if self.paused_at is None:
            return self.paused_seconds
        lasted = math.floor((moment - self.paused_at).total_seconds())
        return self.paused_seconds + min(max(0, lasted), self.pause_limit_seconds)

    def seconds_left(self, moment: datetime) -> int | None:
        """Return the whole paid seconds left at `moment`; None before activation."""
        if self.activated_at is None:
            return None
        return max(0, self.paid_seconds - self.used_seconds(moment))

    def __repr__(self) -> str:
        return f"<AccessToken {self.prefix}… {self.id}>"


def pauses_at(moment: datetime) -> "ColumnElement[bool]":
    """Return an SQL condition: the token's time is paused at `moment`, as `AccessToken.is_paused`."""
    return AccessToken.paused_at.is_not(None) & (AccessToken.paused_until > moment)


def used_by(moment: datetime, token: Any = None) -> "ColumnElement[int]":
    """Return in SQL the whole paid seconds used by `moment`, as `AccessToken.used_seconds`.

    A begun second is not counted here; `token` may be an alias.
    """
    token = AccessToken if token is None else token
    now = literal(moment, DateTime(timezone=True))
    behind = now - func.make_interval(0, 0, 0, 0, 0, 0, token.pause_limit_seconds)
    ran_until = case((token.paused_at.is_(None), now), else_=func.greatest(func.least(now, token.paused_at), behind))
    elapsed = func.floor(func.extract("epoch", ran_until - token.activated_at))
    return cast("ColumnElement[int]", elapsed - token.paused_seconds - token.credited_seconds)


def ended_by(moment: datetime) -> "ColumnElement[bool]":
    """Return an SQL condition: the token's time has expired by `moment`; an unused one has no end."""
    return AccessToken.activated_at.is_not(None) & (AccessToken.ends_at <= moment)
