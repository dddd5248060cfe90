"""Bundles: sell several tokens with one price and one transfer, whose shares add up to the price."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import Select, case, select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken, TokenOrigin
from models.audit import AuditAction
from models.bundles import Bundle, BundlePurchase
from models.config.settings import Settings
from models.ledger import TransferPurpose
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import InvalidInput, NotFound
from models.services.ledger.money import CENT
from models.services.pagination import MAX_LIMIT, Page, fetch_page
from models.services.promotions import referrals
from models.services.tokens import purchase as token_purchase
from models.users import User


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a bundle in ZNC: of its tokens bought singly, and together."""

    base: Decimal
    total: Decimal

    @property
    def savings(self) -> Decimal:
        return self.base - self.total


def price_of(bundle: Bundle, settings: Settings) -> Price:
    """Return the current price of a bundle, at least 0.01. Raises InvalidInput when its duration is no longer sold."""
    base = token_purchase.price_of(settings, bundle.duration_hours) * bundle.token_count
    total = (base * (100 - bundle.discount_percent) / 100).quantize(CENT, rounding=ROUND_HALF_UP)
    return Price(base, max(total, CENT))


def shares(price: Decimal, count: int) -> list[Decimal]:
    """Split a price into shares that differ by 0.01 at most and add up to it."""
    cents = int(price / CENT)
    low, more = divmod(cents, count)
    return [(low + (number < more)) * CENT for number in range(count)]


def purchase(
    session: Session,
    user: User,
    bundle_id: uuid.UUID,
    *,
    purchase_id: uuid.UUID,
    settings: Settings,
    actor: Actor,
    coupon: str = "",
    shown: Decimal | None = None,
) -> tuple[BundlePurchase, list[tuple[AccessToken, str]]]:
    """Sell a bundle and return its tokens with their secrets, which are shown once.

    A form that carries the purchase's id buys once: the second time raises DuplicateTransfer. `shown` is the price that
    the buyer saw. Raises NotFound, AccountDisabled, PriceChanged, CouponRefused, InvalidInput and InsufficientFunds as
    well.
    """
    bundle = find_offered(session, bundle_id)
    token_purchase.require_active(session, user)
    price = price_of(bundle, settings).total
    token_purchase.require_price_shown(price, shown)
    reference = ("bundle_purchase", purchase_id)
    price = token_purchase.take_coupon(session, user, coupon, price, reference=reference)
    sold = BundlePurchase(
        id=purchase_id,
        user_id=user.id,
        bundle_id=bundle.id,
        bundle_name=bundle.name,
        token_count=bundle.token_count,
        price_paid=price,
    )
    session.add(sold)
    moment = clock.now()
    made = [
        token_purchase.build_token(
            session,
            settings,
            id=uuid.uuid4(),
            user_id=user.id,
            # A long name is cut to leave room for the number.
            name=f"{bundle.name[: token_purchase.NAME_LENGTH - len(str(number)) - 1]} {number}",
            origin=TokenOrigin.PURCHASE,
            scope=bundle.scope,
            duration_hours=bundle.duration_hours,
            price_paid=share,
            bundle_purchase=sold,
            bundle_share=share,
            # Lists are newest first, so the first token gets the latest time: they read 1, 2, 3.
            created_at=moment - timedelta(microseconds=number),
        )
        for number, share in enumerate(shares(price, bundle.token_count), start=1)
    ]
    sizes = {"tokens": bundle.token_count, "hours": bundle.duration_hours}
    facts = {"bundle": bundle.name, "price": str(price), **sizes}
    audit_log.record(session, AuditAction.BUNDLE_PURCHASED, actor, user_id=user.id, resource=reference, **facts)
    purpose = TransferPurpose.BUNDLE_PURCHASE
    token_purchase.pay(
        session, user, price, purpose=purpose, details={"name": bundle.name}, reference=reference, actor=actor
    )
    referrals.book_bonus(session, user, price, reference=reference, settings=settings, actor=actor)
    return sold, made


def find_offered(session: Session, bundle_id: uuid.UUID) -> Bundle:
    """Return a bundle that is for sale. Raises NotFound."""
    bundle = by_id(session, bundle_id)
    if not bundle.is_active:
        raise NotFound("bundle")
    return bundle


def by_id(session: Session, bundle_id: uuid.UUID) -> Bundle:
    """Return a bundle, for sale or not. Raises NotFound."""
    bundle = session.get(Bundle, bundle_id)
    if bundle is None:
        raise NotFound("bundle")
    return bundle


def on_sale(session: Session, settings: Settings, *, limit: int = MAX_LIMIT, offset: int = 0) -> Page[Bundle]:
    """Return a page of bundles for sale, cheapest first."""
    each = case(settings.prices.znc, value=Bundle.duration_hours)
    total = each * Bundle.token_count * (100 - Bundle.discount_percent)
    return fetch_page(session, _offered(settings), order=(total, Bundle.name, Bundle.id), limit=limit, offset=offset)


def offers(session: Session, settings: Settings, *, limit: int, offset: int) -> Page[Bundle]:
    """Return a page of bundles for sale, newest first."""
    order = (Bundle.created_at.desc(), Bundle.id)
    return fetch_page(session, _offered(settings), order=order, limit=limit, offset=offset)


def _offered(settings: Settings) -> Select[Bundle]:
    return select(Bundle).where(Bundle.is_active, Bundle.duration_hours.in_(settings.prices.znc))


def list_bundles(session: Session, *, limit: int, offset: int) -> Page[Bundle]:
    """Return a page of all bundles, newest first."""
    return fetch_page(session, select(Bundle), order=(Bundle.created_at.desc(), Bundle.id), limit=limit, offset=offset)


def save(
    session: Session,
    bundle: Bundle | None,
    *,
    name: str,
    description: str,
    token_count: int,
    duration_hours: int,
    scope: str,
    discount_percent: Decimal,
    settings: Settings,
    actor: Actor,
) -> Bundle:
    """Create a bundle, or change one for future buyers; sold ones stay unchanged. Raises InvalidInput."""
    token_purchase.price_of(settings, duration_hours)
    if scope not in settings.scopes:
        raise InvalidInput("scope", "scope_unknown")
    check_token_count(token_count)
    check_discount(discount_percent)
    values = {
        "name": text_validation.one_line(name, field="name", at_least=1, at_most=50),
        "description": text_validation.one_line(description, field="description", at_most=200),
        "token_count": token_count,
        "duration_hours": duration_hours,
        "scope": scope,
        "discount_percent": discount_percent,
    }
    if bundle is None:
        bundle = Bundle(**values)
        session.add(bundle)
    else:
        for column, value in values.items():
            setattr(bundle, column, value)
    session.flush()
    _record(session, bundle, actor, **{key: str(value) for key, value in values.items()})
    return bundle


def check_token_count(token_count: int) -> None:
    """Raise InvalidInput for an invalid number of tokens."""
    if not 2 <= token_count <= 100:
        raise InvalidInput("token_count", "bundle_size_out_of_range")


def check_discount(percent: Decimal) -> None:
    """Raise InvalidInput for an invalid discount."""
    if not (percent.is_finite() and 0 <= percent <= 90) or percent != percent.quantize(CENT):
        raise InvalidInput("discount_percent", "bundle_discount_out_of_range")


def set_active(session: Session, bundle_id: uuid.UUID, *, active: bool, actor: Actor) -> Bundle:
    """Withdraw a bundle or offer it again. Raises NotFound."""
    bundle = by_id(session, bundle_id)
    bundle.is_active = active
    session.flush()
    _record(session, bundle, actor, active=active)
    return bundle


def _record(session: Session, bundle: Bundle, actor: Actor, **facts: object) -> None:
    resource = ("bundle", bundle.id)
    audit_log.record(session, AuditAction.BUNDLE_CHANGED, actor, user_id=actor.user_id, resource=resource, **facts)
