"""Buying, revoking and listing access tokens."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, DateTime, and_, false, literal_column, or_, select
from sqlalchemy.orm import Session, joinedload

from models import clock
from models.audit import AuditAction
from models.config import Settings
from models.ledger import AccountKind, TransferKind
from models.services import audit, changes, coupons, crediting, ledger, outages, outbox, referrals, secrets, texts
from models.services.context import Actor
from models.services.errors import AccountDisabled, CouponRefused, InvalidInput, NotFound, PriceChanged, TokenEnded
from models.services.money import round_down
from models.services.paging import Page, page_of
from models.tokens import ENDS, AccessToken, TokenOrigin, TokenState
from models.users import User

HOUR = 3600
NAME_LENGTH = 50
DEMO_HOURS = 24


@dataclass(frozen=True, slots=True)
class RefundPreview:
    """What a revocation gives back in ZNC, the paid time that counts as used, and whether the one shrinks now."""

    amount: Decimal
    used_seconds: int
    shrinks: bool


def price_of(settings: Settings, hours: int) -> Decimal:
    """Return the list price in ZNC of a duration, or raise InvalidInput when it is not for sale."""
    price = settings.prices.znc.get(hours)
    if price is None:
        raise InvalidInput("duration_hours", "This duration is not for sale.")
    return price


def refuse_other_price(price: Decimal, shown: Decimal | None) -> None:
    """Raise PriceChanged when the buyer was shown another list price; None: he was shown none."""
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
    """Sell a token and return it with its secret, which is known only now.

    A form that carries the id of the token-to-be cannot buy twice: the second try raises DuplicateTransfer.
    `shown` is the list price that the buyer saw. Raises PriceChanged, InvalidInput, CouponRefused and
    InsufficientFunds as well.
    """
    price = price_of(settings, hours)
    refuse_other_price(price, shown)
    _check(scope, name, settings)
    if not user.is_active:
        raise AccountDisabled
    token_id = token_id or uuid.uuid4()
    reference = ("token", token_id)
    price = take_coupon(session, user, coupon, price, reference=reference)
    token, secret = make(
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
    audit.record(
        session,
        AuditAction.TOKEN_PURCHASED,
        actor,
        user_id=user.id,
        resource=("token", token.id),
        hours=hours,
        scope=scope,
        price=str(price),
    )
    pay(session, user, price, f"Token for {hours} h", reference=reference, actor=actor)
    referrals.earn(session, user, price, reference=reference, settings=settings, actor=actor)
    return token, secret


def take_coupon(
    session: Session, user: User, code: str, price: Decimal, *, reference: tuple[str, uuid.UUID]
) -> Decimal:
    """Return what a code leaves of a price. Raises CouponRefused, and DuplicateTransfer for what is paid already."""
    try:
        return coupons.take(session, user, code, price, reference=reference).price
    except CouponRefused:
        # Of a form that was sent twice, the first may have used the coupon up.
        ledger.refuse_booked(session, _key(reference))
        raise


def pay(
    session: Session, user: User, price: Decimal, words: str, *, reference: tuple[str, uuid.UUID], actor: Actor
) -> None:
    """Take the price of a purchase from the wallet. Raises DuplicateTransfer, InsufficientFunds and DebtOpen.

    What was sold is in the session, and is written once the purchase's key is claimed: of a form that was sent twice
    only the key is found to be there already.
    """
    with session.no_autoflush:
        ledger.transfer(
            session,
            TransferKind.PURCHASE,
            debit=ledger.wallet_of(session, user.id),
            credit=ledger.system_account(session, AccountKind.SALES),
            amount=price,
            description=words,
            reference=reference,
            idempotency_key=_key(reference),
            actor=actor,
        )


def _key(reference: tuple[str, uuid.UUID]) -> str:
    return f"purchase:{reference[1]}"


def issue_demo(session: Session, owner: User, *, settings: Settings, actor: Actor) -> str:
    """Give `owner` a fresh token at no price, end the demo tokens issued before, and return the secret."""
    moment = clock.now()
    older = select(AccessToken).where(AccessToken.origin == TokenOrigin.DEMO, AccessToken.revoked_at.is_(None))
    for token in session.scalars(older.with_for_update()):
        _end(session, token, Decimal(0), moment)
        resource = ("token", token.id)
        audit.record(session, AuditAction.TOKEN_REVOKED, actor, user_id=token.user_id, resource=resource, refund="0")
    token, secret = make(
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
    audit.record(session, AuditAction.TOKEN_ISSUED, actor, user_id=owner.id, resource=("token", token.id))
    return secret


def refund_due(token: AccessToken, moment: datetime, settings: Settings, *, credit: int = 0) -> Decimal:
    """Return what comes back if the owner revokes at `moment` (contract.md, section 4), rounded down to 0.01.

    price_paid x max(0, paid_seconds - used_seconds) / paid_seconds; with the list rate, price_paid less the list
    price of the shortest duration that covers the time used. A token never used gives back all of it. `credit` is
    what outages owe it besides (`crediting.pending`), in seconds: time that was not used.
    """
    if token.state(moment) in {TokenState.REVOKED, TokenState.EXPIRED}:
        return Decimal(0)
    used = max(0, token.used_seconds(moment) - credit)
    share = round_down(token.price_paid * max(0, token.paid_seconds - used) / token.paid_seconds)
    if settings.refund.used_time_rate == "prorata" or token.activated_at is None:
        return share
    fitting = [price for hours, price in sorted(settings.prices.znc.items()) if hours * HOUR >= used]
    if not fitting:
        return share
    return min(share, max(Decimal(0), round_down(token.price_paid - fitting[0])))


def refund_now(session: Session, token: AccessToken, settings: Settings) -> RefundPreview:
    """Return what a revocation gives back at this moment, with what outages owe the token."""
    moment = clock.now()
    credit = crediting.pending(session, token, moment, settings)
    stands_still = credit > 0 and outages.current(session, settings.upstream.probe_gap) is not None
    return RefundPreview(
        amount=refund_due(token, moment, settings, credit=credit),
        used_seconds=max(0, token.used_seconds(moment) - credit),
        shrinks=token.state(moment) is TokenState.ACTIVE and not stands_still,
    )


def revoke(
    session: Session, owner: User, token_id: uuid.UUID, *, settings: Settings, actor: Actor
) -> tuple[AccessToken, Decimal]:
    """End the owner's token and pay back its unused time; returns the token and the refund in ZNC.

    Raises NotFound for a stranger's token, TokenEnded for one that is revoked or has expired. The row lock makes
    a first use at the same instant come either before (pro-rata refund) or after (refused), never both.
    """
    token = session.scalars(
        select(AccessToken)
        .where(AccessToken.id == token_id, AccessToken.user_id == owner.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if token is None:
        raise NotFound("token")
    state = token.state(clock.now())
    if state in {TokenState.REVOKED, TokenState.EXPIRED}:
        raise TokenEnded(state)
    due = refund_now(session, token, settings)
    refund = due.amount
    bonus = referrals.locked_bonus(session, token)
    _end(session, token, refund, clock.now())
    audit.record(
        session,
        AuditAction.TOKEN_REVOKED,
        actor,
        user_id=owner.id,
        resource=("token", token.id),
        refund=str(refund),
        used_seconds=due.used_seconds,
    )
    if refund > 0:
        ledger.transfer(
            session,
            TransferKind.REFUND,
            debit=ledger.system_account(session, AccountKind.SALES),
            credit=ledger.wallet_of(session, owner.id),
            amount=refund,
            description=f"Unused time of token {token.prefix}…",
            reference=("token", token.id),
            idempotency_key=f"refund:{token.id}",
            actor=actor,
        )
        if bonus is not None:
            referrals.give_back(session, bonus, token, refund, actor=actor)
    return token, refund


def force_revoke(session: Session, token_id: uuid.UUID, *, reason: str, actor: Actor) -> AccessToken:
    """End anybody's token, as an admin: nothing is paid back (contract.md, section 4), and the owner is told why.

    Raises NotFound, TokenEnded, and InvalidInput for a bad reason.
    """
    reason = texts.one_line(reason, field="reason", at_least=3, at_most=200)
    query = select(AccessToken).where(AccessToken.id == token_id).with_for_update()
    token = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if token is None:
        raise NotFound("token")
    state = token.state(clock.now())
    if state in {TokenState.REVOKED, TokenState.EXPIRED}:
        raise TokenEnded(state)
    _end(session, token, Decimal(0), clock.now())
    owner = session.get_one(User, token.user_id)
    name = token.name or f"{token.prefix}…"
    key = f"token_revoked:{token.id}"
    outbox.write(session, "token_revoked", owner, dedup_key=key, username=owner.username, name=name, reason=reason)
    resource = ("token", token.id)
    action = AuditAction.TOKEN_FORCE_REVOKED
    audit.record(session, action, actor, user_id=token.user_id, resource=resource, reason=reason)
    return token


def by_id(session: Session, token_id: uuid.UUID) -> AccessToken:
    """Return anybody's token, for admins. Raises NotFound."""
    token = session.get(AccessToken, token_id)
    if token is None:
        raise NotFound("token")
    return token


def owned(session: Session, owner: User, token_id: uuid.UUID) -> AccessToken:
    """Return the owner's token; a stranger's is NotFound."""
    token = session.scalars(
        select(AccessToken).where(AccessToken.id == token_id, AccessToken.user_id == owner.id)
    ).one_or_none()
    if token is None:
        raise NotFound("token")
    return token


def of_user(
    session: Session, user_id: uuid.UUID, *, active_only: bool = False, limit: int, offset: int
) -> Page[AccessToken]:
    """Return a page of a user's tokens, newest first."""
    query = select(AccessToken).where(AccessToken.user_id == user_id)
    if active_only:
        query = query.where(has_not_ended())
    return page_of(session, query, order=(AccessToken.created_at.desc(), AccessToken.id), limit=limit, offset=offset)


def search(
    session: Session,
    *,
    prefix: str = "",
    user_id: uuid.UUID | None = None,
    active_only: bool = False,
    limit: int,
    offset: int,
) -> Page[AccessToken]:
    """Return a page of all tokens with their owners, newest first; `prefix` is matched from its start."""
    query = select(AccessToken).options(joinedload(AccessToken.user))
    if user_id is not None:
        query = query.where(AccessToken.user_id == user_id)
    if not texts.is_fit(prefix.strip()):
        query = query.where(false())
    elif prefix.strip():
        query = query.where(AccessToken.prefix.startswith(prefix.strip()[: secrets.PREFIX_LENGTH], autoescape=True))
    order = (AccessToken.created_at.desc(), AccessToken.id)
    if not active_only:
        return page_of(session, query, order=order, limit=limit, offset=offset)
    parts = [query.where(way) for way in _ways_not_to_have_ended()]
    return page_of(session, query.where(has_not_ended()), order=order, limit=limit, offset=offset, parts=parts)


def has_not_ended() -> ColumnElement[bool]:
    """Say in SQL that a token is neither revoked nor expired; one that was never used has no end."""
    return or_(*_ways_not_to_have_ended())


def _ways_not_to_have_ended() -> tuple[ColumnElement[bool], ...]:
    """Return each of them as it stands in an index of its own; no token is in two of them."""
    is_there = AccessToken.revoked_at.is_(None)
    unused, paused = AccessToken.activated_at.is_(None), AccessToken.paused_at.is_not(None)
    return is_there & unused, is_there & paused, runs(clock.now())


def runs(moment: datetime) -> ColumnElement[bool]:
    """Say in SQL that a token's clock is running at `moment`, word for word as its index has it."""
    return and_(
        AccessToken.revoked_at.is_(None),
        AccessToken.activated_at.is_not(None),
        AccessToken.paused_at.is_(None),
        literal_column(ENDS, DateTime(timezone=False)) > moment.replace(tzinfo=None),
    )


def _check(scope: str, name: str, settings: Settings) -> None:
    if scope not in settings.scopes:
        raise InvalidInput("scope", "There is no such scope.")
    texts.one_line(name, field="name", at_most=NAME_LENGTH)


def make(session: Session, settings: Settings, **columns: Any) -> tuple[AccessToken, str]:
    """Add a token with a fresh secret to the session and return both; who calls sees to its price."""
    secret = secrets.new_secret(settings.tokens)
    token = AccessToken(
        prefix=secret[: secrets.PREFIX_LENGTH],
        secret_hash=secrets.hash_of(settings.tokens, secret),
        paid_seconds=columns["duration_hours"] * HOUR,
        paused_seconds=0,
        credited_seconds=0,
        **columns,
    )
    session.add(token)
    return token, secret


def _end(session: Session, token: AccessToken, refund: Decimal, moment: datetime) -> None:
    token.revoked_at = moment
    token.refund_amount = refund
    changes.announce_token(session, token.id)
