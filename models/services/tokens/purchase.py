"""Purchase of access tokens: price check, payment, coupons, demo tokens."""

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import HOUR, AccessToken, TokenOrigin
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import AccountKind, TransferKind, TransferPurpose
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.crypto import secrets
from models.services.errors import AccountDisabled, CouponRefused, InvalidInput, PriceChanged
from models.services.ledger import transfers
from models.services.promotions import coupons, referrals
from models.services.tokens import revocation
from models.users import User

NAME_LENGTH = 50
DEMO_HOURS = 24


def price_of(settings: Settings, hours: int) -> Decimal:
    """Return the list price of a duration in ZNC. Raises InvalidInput when it is not for sale."""
    price = settings.prices.znc.get(hours)
    if price is None:
        raise InvalidInput("duration_hours", "duration_unavailable")
    return price


def require_price_shown(price: Decimal, shown: Decimal | None) -> None:
    """Raise PriceChanged when the buyer saw another list price; None: no price was shown."""
    if shown is not None and shown != price:
        raise PriceChanged(price)


def purchase(
    session: Session,
    user: User,
    *,
    hours: int,
    scope: str,
    name: str,
    settings: Settings,
    actor: Actor,
    token_id: uuid.UUID | None = None,
    coupon: str = "",
    shown: Decimal | None = None,
) -> tuple[AccessToken, str]:
    """Sell a token and return it with its secret, which is shown once.

    A form that carries the new token's id buys once: the second time raises DuplicateTransfer. `shown` is the list
    price that the buyer saw. Raises PriceChanged, InvalidInput, AccountDisabled, CouponRefused, InsufficientFunds and
    DebtOpen as well.
    """
    price = price_of(settings, hours)
    require_price_shown(price, shown)
    _check(scope, name, settings)
    require_active(session, user)
    token_id = token_id or uuid.uuid4()
    reference = ("token", token_id)
    price = take_coupon(session, user, coupon, price, reference=reference)
    token, secret = build_token(
        session,
        settings,
        id=token_id,
        user_id=user.id,
        name=name.strip(),
        origin=TokenOrigin.PURCHASE,
        scope=scope,
        duration_hours=hours,
        price_paid=price,
    )
    audit_log.record(
        session,
        AuditAction.TOKEN_PURCHASED,
        actor,
        user_id=user.id,
        resource=("token", token.id),
        hours=hours,
        scope=scope,
        price=str(price),
    )
    purpose = TransferPurpose.TOKEN_PURCHASE
    pay(session, user, price, purpose=purpose, details={"duration": hours}, reference=reference, actor=actor)
    referrals.book_bonus(session, user, price, reference=reference, settings=settings, actor=actor)
    return token, secret


def require_active(session: Session, user: User) -> None:
    """Raise AccountDisabled for a disabled buyer, and lock the user against being disabled until the commit.

    Disabling a user invalidates the tokens visible to that transaction; a token bought concurrently would stay valid in
    the workers' caches.
    """
    if not session.scalar(select(User.is_active).where(User.id == user.id).with_for_update(read=True)):
        raise AccountDisabled


def take_coupon(
    session: Session, user: User, code: str, price: Decimal, *, reference: tuple[str, uuid.UUID]
) -> Decimal:
    """Return what a coupon leaves of a price. Raises CouponRefused, and DuplicateTransfer if it was already paid."""
    try:
        return coupons.redeem(session, user, code, price, reference=reference).price
    except CouponRefused:
        # Of a form sent twice, the first may have used up the coupon.
        transfers.refuse_booked(session, _key(reference))
        raise


def pay(
    session: Session,
    user: User,
    price: Decimal,
    *,
    purpose: TransferPurpose,
    details: Mapping[str, str | int],
    reference: tuple[str, uuid.UUID],
    actor: Actor,
) -> None:
    """Debit the price of a purchase from the wallet. Raises DuplicateTransfer, InsufficientFunds and DebtOpen.

    The purchase is flushed after its key is claimed: of a form sent twice, the second finds only the key.
    """
    with session.no_autoflush:
        transfers.transfer(
            session,
            TransferKind.PURCHASE,
            debit=transfers.wallet_of(session, user.id),
            credit=transfers.system_account(session, AccountKind.SALES),
            amount=price,
            purpose=purpose,
            details=details,
            reference=reference,
            idempotency_key=_key(reference),
            actor=actor,
        )


def _key(reference: tuple[str, uuid.UUID]) -> str:
    return f"purchase:{reference[1]}"


def issue_demo(session: Session, owner: User, *, settings: Settings, actor: Actor) -> str:
    """Issue a free token to `owner`, end the demo tokens issued before, and return the secret."""
    moment = clock.now()
    older = select(AccessToken).where(AccessToken.origin == TokenOrigin.DEMO, AccessToken.revoked_at.is_(None))
    for token in session.scalars(older.with_for_update()):
        revocation.end(session, token, Decimal(0), moment)
        resource = ("token", token.id)
        audit_log.record(
            session, AuditAction.TOKEN_REVOKED, actor, user_id=token.user_id, resource=resource, refund="0"
        )
    token, secret = build_token(
        session,
        settings,
        id=uuid.uuid4(),
        user_id=owner.id,
        name="Demo",
        origin=TokenOrigin.DEMO,
        scope="full",
        duration_hours=DEMO_HOURS,
        price_paid=Decimal(0),
    )
    audit_log.record(session, AuditAction.TOKEN_ISSUED, actor, user_id=owner.id, resource=("token", token.id))
    return secret


def _check(scope: str, name: str, settings: Settings) -> None:
    if scope not in settings.scopes:
        raise InvalidInput("scope", "scope_unknown")
    text_validation.one_line(name, field="name", at_most=NAME_LENGTH)


def build_token(session: Session, settings: Settings, **columns: Any) -> tuple[AccessToken, str]:
    """Add a token with a new secret to the session and return both; the caller takes care of the price."""
    secret = secrets.new_secret(settings.tokens)
    token = AccessToken(
        prefix=secret[: secrets.PREFIX_LENGTH],
        secret_hash=secrets.hash_of(settings.tokens, secret),
        paid_seconds=columns["duration_hours"] * HOUR,
        list_prices={str(hours): str(price) for hours, price in settings.prices.znc.items()},
        paused_seconds=0,
        credited_seconds=0,
        **columns,
    )
    session.add(token)
    return token, secret
