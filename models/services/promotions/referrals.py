"""Referral bonus: one per referred user, for their first large purchase with their own money.

The bonus is booked with the purchase as pending balance of the referrer and paid out to the wallet when nothing of the
purchase can be refunded any more; of time added later, only the later money can be. Deductions before and after that
are in promotions/bonus_corrections.py.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from models import clock
from models.access_tokens import HOUR, AccessToken, used_by
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import AccountKind, TransferKind, TransferPurpose
from models.outages import Outage
from models.referrals import ReferralBonus
from models.services import text_validation
from models.services.accounts import former_accounts
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.errors import InvalidInput
from models.services.ledger import transfers
from models.services.ledger.money import round_down
from models.services.notifications import outbox
from models.services.pagination import Page, fetch_page
from models.services.promotions import bonus_backing, bonus_corrections
from models.users import User

# A probe that failed in a token's last seconds may open an outage a little later and credit time to the token.
SETTLED_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ReferralTotals:
    """Totals of a user's referrals; amounts in ZNC."""

    invited: int
    qualified: int
    held: Decimal
    earned: Decimal


def referrer_of(session: Session, code: str) -> User | None:
    """Return the owner of a referral code, or None without a code. Raises InvalidInput for an unknown code."""
    code = code.strip().upper()
    if not code:
        return None
    query = select(User).where(User.referral_code == code, User.is_active)
    referrer = session.scalars(query).one_or_none() if text_validation.is_printable(code) else None
    if referrer is None:
        raise InvalidInput("referral_code", "referral_code_unknown")
    return referrer


def book_bonus(
    session: Session,
    buyer: User,
    price: Decimal,
    *,
    reference: tuple[str, uuid.UUID],
    settings: Settings,
    actor: Actor,
) -> Decimal | None:
    """Book the referrer's bonus if this purchase earns it; return its amount in ZNC.

    The unique index on the buyer lets one purchase earn it, however many are concurrent.
    """
    rules = settings.referral
    if buyer.referrer_id is None or price < rules.from_znc or bonus_corrections.is_deleted(session, buyer.referrer_id):
        return None
    former = ReferralBonus.referred_id.in_(former_accounts.lineage(buyer.id))
    if session.scalar(select(exists().where(former))):
        return None
    price = bonus_backing.earning_part(session, buyer.id, price)
    if price < rules.from_znc:
        return None
    amount = round_down(price * rules.percent / 100)
    if amount <= 0:
        return None
    kind, reference_id = reference
    bonus_id = session.scalar(
        insert(ReferralBonus)
        .values(
            id=uuid.uuid4(),
            referrer_id=buyer.referrer_id,
            referred_id=buyer.id,
            reference_type=kind,
            reference_id=reference_id,
            price=price,
            amount=amount,
            returned=Decimal(0),
        )
        .on_conflict_do_nothing(index_elements=["referred_id"])
        .returning(ReferralBonus.id)
    )
    if bonus_id is None:
        return None
    transfers.transfer(
        session,
        TransferKind.REFERRAL_BONUS,
        debit=transfers.system_account(session, AccountKind.BONUSES),
        credit=transfers.personal_account(session, buyer.referrer_id, AccountKind.HELD),
        amount=amount,
        purpose=TransferPurpose.REFERRAL_BONUS_PENDING,
        reference=("referral", bonus_id),
        idempotency_key=f"bonus:{bonus_id}",
        actor=actor,
    )
    resource = ("referral", bonus_id)
    action = AuditAction.BONUS_EARNED
    audit_log.record(session, action, actor, user_id=buyer.referrer_id, resource=resource, amount=str(amount))
    return amount


def lock_bonus(session: Session, token: AccessToken) -> ReferralBonus | None:
    """Lock the held bonus that the token's purchase earned, if any.

    Lock order: before any account, since `vest` holds a bonus while it waits for accounts.
    """
    return session.scalars(
        select(ReferralBonus)
        .where(_is_of(token), ReferralBonus.ended_at.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def due(session: Session, *, limit: int = 500) -> list[uuid.UUID]:
    """Return bonuses whose purchase can no longer be refunded, oldest first.

    Those of debtors are left out: they may stay for ever and must not block the others.
    """
    query = select(ReferralBonus.id).where(
        ReferralBonus.ended_at.is_(None), ~_is_refundable(), ~bonus_corrections.buyer_owes()
    )
    return list(session.scalars(query.order_by(ReferralBonus.created_at).limit(limit)))


def vest(session: Session, bonus_id: uuid.UUID) -> bool:
    """Pay out what is left of a bonus; return whether it was due.

    A bonus whose buyer owes money for a reversed payment waits until it is repaid.
    """
    bonus = session.scalars(
        select(ReferralBonus)
        .where(ReferralBonus.id == bonus_id, ReferralBonus.ended_at.is_(None), ~_is_refundable())
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if bonus is None or transfers.debt_of(session, bonus.referred_id):
        return False
    if bonus_corrections.is_deleted(session, bonus.referrer_id):
        bonus_corrections.lapse(session, bonus, actor=PLATFORM)
        return True
    left = bonus.left
    bonus.ended_at = clock.now()
    if left > 0:
        _pay_out(session, bonus, left)
        referrer = session.get_one(User, bonus.referrer_id)
        facts = {"username": referrer.username, "amount_znc": f"{left:.2f}"}
        outbox.enqueue_mail(session, "bonus", referrer, dedup_key=f"bonus:{bonus.id}", **facts)
    resource = ("referral", bonus.id)
    action = AuditAction.BONUS_VESTED
    audit_log.record(session, action, PLATFORM, user_id=bonus.referrer_id, resource=resource, amount=str(left))
    return True


def totals(session: Session, user: User) -> ReferralTotals:
    """Return the totals of a user's referrals."""
    invited = session.scalar(select(func.count()).where(User.referrer_id == user.id)) or 0
    left = ReferralBonus.amount - ReferralBonus.returned - ReferralBonus.withheld
    held = func.coalesce(func.sum(left).filter(ReferralBonus.ended_at.is_(None)), 0)
    earned = func.coalesce(func.sum(left).filter(ReferralBonus.ended_at.is_not(None)), 0)
    query = select(func.count(), held, earned).where(ReferralBonus.referrer_id == user.id)
    qualified, held_znc, earned_znc = session.execute(query).one()
    return ReferralTotals(invited, qualified, held_znc, earned_znc)


def list_referred_users(
    session: Session, user: User, *, limit: int, offset: int
) -> Page[tuple[User, ReferralBonus | None]]:
    """Return a page of referred users with the bonus for each, newest first."""
    query = select(User).where(User.referrer_id == user.id)
    page = fetch_page(session, query, order=(User.created_at.desc(), User.id), limit=limit, offset=offset)
    rows = session.scalars(select(ReferralBonus).where(ReferralBonus.referred_id.in_([who.id for who in page.items])))
    by_user = {row.referred_id: row for row in rows}
    return Page([(who, by_user.get(who.id)) for who in page.items], page.total, page.limit, page.offset)


def _pay_out(session: Session, bonus: ReferralBonus, amount: Decimal) -> None:
    transfers.transfer(
        session,
        TransferKind.REFERRAL_BONUS,
        debit=transfers.personal_account(session, bonus.referrer_id, AccountKind.HELD),
        credit=transfers.wallet_of(session, bonus.referrer_id),
        amount=amount,
        purpose=TransferPurpose.REFERRAL_BONUS,
        reference=("referral", bonus.id),
        idempotency_key=f"bonus-vested:{bonus.id}",
        actor=PLATFORM,
    )


def _is_of(token: AccessToken) -> ColumnElement[bool]:
    own = and_(ReferralBonus.reference_type == "token", ReferralBonus.reference_id == token.id)
    of_bundle = and_(
        ReferralBonus.reference_type == "bundle_purchase", ReferralBonus.reference_id == token.bundle_purchase_id
    )
    return or_(own, of_bundle)


def _is_refundable() -> ColumnElement[bool]:
    """Return an SQL condition: money of the purchase may still be refunded, or credited by an outage.

    The purchase's own time has to be used up; where later time was cheaper, so much that a refund of the rest stays
    within the later money.
    """
    token = aliased(AccessToken)
    is_its = or_(
        and_(ReferralBonus.reference_type == "token", token.id == ReferralBonus.reference_id),
        and_(ReferralBonus.reference_type == "bundle_purchase", token.bundle_purchase_id == ReferralBonus.reference_id),
    )
    waits = exists().where(Outage.credited_at.is_(None), Outage.opened_at <= token.ends_at)
    used = used_by(clock.now() - SETTLED_AFTER, token)
    earning = func.coalesce(token.bundle_share, ReferralBonus.price)
    is_over = and_(used >= token.duration_hours * HOUR, used * token.price_paid >= earning * token.paid_seconds, ~waits)
    # A token that was never used has no end, so it has not ended.
    return exists().where(is_its, token.revoked_at.is_(None), func.coalesce(is_over, False).is_(False))
