"""Coupons: validate a code, compute the discount within its limits; at least 0.01 remains to be paid."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.coupons import Coupon, CouponUse
from models.services import text_validation
from models.services.accounts import former_accounts
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import CouponRefused, InvalidInput, NotFound
from models.services.insertion import insert_unless_taken
from models.services.ledger.money import CENT, require_amount, round_down
from models.services.pagination import Page, fetch_page
from models.users import User

# As good as unlimited, and it fits its column.
MOST_USES = 1_000_000


@dataclass(frozen=True, slots=True)
class Quote:
    """The price to pay and the discount, in ZNC."""

    price: Decimal
    discount: Decimal


def quotes(session: Session, user: User, code: str, prices: Mapping[int, Decimal]) -> dict[int, Quote]:
    """Return what a code makes of each price; without a code, the prices unchanged. Raises CouponRefused."""
    if not code.strip():
        return {key: Quote(price, Decimal(0)) for key, price in prices.items()}
    coupon = _find(session, code, lock=False)
    _check_usable(session, user, coupon)
    return {key: _reduced(coupon, price) for key, price in prices.items()}


def redeem(session: Session, user: User, code: str, price: Decimal, *, reference: tuple[str, uuid.UUID]) -> Quote:
    """Use a code for a purchase. Its row lock keeps two buyers from sharing the last use. Raises CouponRefused."""
    if not code.strip():
        return Quote(price, Decimal(0))
    coupon = _find(session, code, lock=True)
    _check_usable(session, user, coupon)
    made = _reduced(coupon, price)
    if made.discount:
        kind, reference_id = reference
        facts = {"coupon_id": coupon.id, "user_id": user.id, "discount": made.discount}
        session.add(CouponUse(reference_type=kind, reference_id=reference_id, **facts))
    return made


def create(
    session: Session,
    *,
    code: str,
    percent: Decimal | None,
    amount: Decimal | None,
    uses_in_all: int | None,
    uses_per_user: int | None,
    valid_until: datetime | None,
    actor: Actor,
) -> Coupon:
    """Create a coupon. Raises InvalidInput."""
    # Some letters become two in upper case.
    code = text_validation.one_line(code.upper(), field="code", at_least=3, at_most=32)
    check_one_of(percent, amount)
    if percent is not None:
        check_percent(percent)
    for limit in (uses_in_all, uses_per_user):
        if limit is not None:
            check_limit(limit)
    coupon = insert_unless_taken(
        session,
        Coupon,
        code=code,
        percent=percent,
        amount=None if amount is None else require_amount(amount),
        uses_in_all=uses_in_all,
        uses_per_user=uses_per_user,
        valid_until=valid_until,
    )
    if coupon is None:
        raise InvalidInput("code", "code_taken")
    _record(session, coupon, actor, code=code)
    return coupon


def check_one_of(percent: Decimal | None, amount: Decimal | None) -> None:
    """Raise InvalidInput unless a coupon has either a percentage or an amount."""
    if (percent is None) == (amount is None):
        raise InvalidInput("percent", "discount_ambiguous")


def check_percent(percent: Decimal) -> None:
    """Raise InvalidInput for an invalid percentage."""
    if not (percent.is_finite() and 0 < percent < 100 and percent == percent.quantize(CENT)):
        raise InvalidInput("percent", "percent_out_of_range")


def check_limit(limit: int) -> None:
    """Raise InvalidInput for an invalid number of uses."""
    if not 1 <= limit <= MOST_USES:
        raise InvalidInput("uses_in_all", "usage_limit_too_small")


def set_active(session: Session, coupon_id: uuid.UUID, *, active: bool, actor: Actor) -> Coupon:
    """Withdraw a coupon or enable it again. Raises NotFound."""
    coupon = session.get(Coupon, coupon_id)
    if coupon is None:
        raise NotFound("coupon")
    coupon.is_active = active
    session.flush()
    _record(session, coupon, actor, active=active)
    return coupon


def list_coupons(session: Session, *, limit: int, offset: int) -> Page[tuple[Coupon, int, Decimal]]:
    """Return a page of coupons with number of uses and total discount, newest first."""
    page = fetch_page(session, select(Coupon), order=(Coupon.created_at.desc(), Coupon.id), limit=limit, offset=offset)
    ids = [coupon.id for coupon in page.items]
    query = select(CouponUse.coupon_id, func.count(), func.sum(CouponUse.discount)).where(CouponUse.coupon_id.in_(ids))
    used = {row[0]: (row[1], row[2]) for row in session.execute(query.group_by(CouponUse.coupon_id))}
    items = [(coupon, *used.get(coupon.id, (0, Decimal(0)))) for coupon in page.items]
    return Page(items, page.total, page.limit, page.offset)


def _find(session: Session, code: str, *, lock: bool) -> Coupon:
    if not text_validation.is_printable(code):
        raise CouponRefused("unknown")
    query = select(Coupon).where(func.upper(Coupon.code) == code.strip().upper()[:32])
    if lock:
        query = query.with_for_update(key_share=True)
    coupon = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if coupon is None:
        raise CouponRefused("unknown")
    return coupon


def _check_usable(session: Session, user: User, coupon: Coupon) -> None:
    if not coupon.is_active or (coupon.valid_until is not None and coupon.valid_until <= clock.now()):
        raise CouponRefused("over")
    in_all = select(func.count()).where(CouponUse.coupon_id == coupon.id)
    # Uses of a user's former accounts count too.
    by_user = in_all.where(CouponUse.user_id.in_(former_accounts.lineage(user.id)))
    limits = ((coupon.uses_in_all, in_all), (coupon.uses_per_user, by_user))
    for limit, uses in limits:
        if limit is not None and (session.scalar(uses) or 0) >= limit:
            raise CouponRefused("used_up")


def _reduced(coupon: Coupon, price: Decimal) -> Quote:
    off = coupon.amount if coupon.percent is None else round_down(price * coupon.percent / 100)
    discount = max(Decimal(0), min(off or Decimal(0), price - CENT))
    return Quote(price - discount, discount)


def _record(session: Session, coupon: Coupon, actor: Actor, **facts: object) -> None:
    resource = ("coupon", coupon.id)
    audit_log.record(session, AuditAction.COUPON_CHANGED, actor, user_id=actor.user_id, resource=resource, **facts)
