"""Referral bonus corrections: refunds of the purchase, reversals of the buyer's payments, deleted accounts.

A refund takes its share, rounded up. A reversal takes what the money backed, also after the bonus was paid out; a job
returns it once the money is back. A held bonus lapses when either account is deleted.
"""

import uuid
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.ledger import Account, AccountKind, TransferKind, TransferPurpose
from models.referrals import ReferralBonus
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.ledger import transfers
from models.services.ledger.money import CENT, round_down
from models.services.promotions import bonus_backing
from models.users import User


def deduct_refund(session: Session, bonus: ReferralBonus, token: AccessToken, refund: Decimal, *, actor: Actor) -> None:
    """Deduct the share of a token's refund from the locked bonus.

    Money paid later, for extensions, earned nothing and is refunded first.
    """
    earning = bonus.price
    if token.bundle_share is not None and token.bundle_purchase is not None:
        earning = bonus.price * token.bundle_share / token.bundle_purchase.price_paid
    part = max(Decimal(0), refund - (token.price_paid - earning))
    share = (bonus.amount * part / bonus.price).quantize(CENT, rounding=ROUND_UP)
    returned = min(bonus.returned + share, bonus.amount)
    _settle(session, bonus, returned, because=f"{token.id}", actor=actor)


def lock_of_buyer(session: Session, buyer_id: uuid.UUID) -> ReferralBonus | None:
    """Lock the bonus that a buyer's purchase earned, held or paid out. Lock order: before any account."""
    query = select(ReferralBonus).where(ReferralBonus.referred_id == buyer_id)
    return session.scalars(query.with_for_update().execution_options(populate_existing=True)).one_or_none()


def withhold(session: Session, bonus: ReferralBonus, *, because: uuid.UUID, actor: Actor) -> None:
    """Deduct the part of a locked bonus that is no longer backed, after the reversal `because`.

    The caller has locked the wallets of buyer and referrer. A bonus already paid out is deducted from the wallet; what
    was spent becomes the referrer's debt.
    """
    _settle(session, bonus, bonus.returned, because=f"{because}", actor=actor)


def due_to_restore(session: Session, *, limit: int = 500) -> list[uuid.UUID]:
    """Return bonuses with a withheld part whose buyer is not in debt, in any order."""
    query = select(ReferralBonus.id).where(ReferralBonus.withheld > 0, ~buyer_owes())
    return list(session.scalars(query.order_by(func.random()).limit(limit)))


def restore(session: Session, bonus_id: uuid.UUID) -> bool:
    """Return a withheld part once the buyer's money is back; return whether there was one."""
    bonus = session.scalars(
        select(ReferralBonus)
        .where(ReferralBonus.id == bonus_id, ReferralBonus.withheld > 0)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if bonus is None or is_deleted(session, bonus.referrer_id):
        return False
    before = bonus.left
    _settle(session, bonus, bonus.returned, because=f"{uuid.uuid4()}", actor=PLATFORM)
    return bonus.left > before


def lock_of_deleted_user(session: Session, user_id: uuid.UUID) -> Sequence[ReferralBonus]:
    """Lock the held bonuses that a user earned or is to receive. Lock order: before any account."""
    is_theirs = or_(ReferralBonus.referred_id == user_id, ReferralBonus.referrer_id == user_id)
    query = select(ReferralBonus).where(is_theirs, ReferralBonus.ended_at.is_(None)).order_by(ReferralBonus.id)
    return session.scalars(query.with_for_update().execution_options(populate_existing=True)).all()


def lapse(session: Session, bonus: ReferralBonus, *, actor: Actor) -> None:
    """End a locked, held bonus without paying it: a deleted account neither earns nor receives one."""
    if bonus.left > 0:
        _move(session, bonus, bonus.left, back=True, key=f"bonus-lapsed:{bonus.id}", actor=actor)
        bonus.returned += bonus.left
    bonus.ended_at = clock.now()
    session.flush()
    resource = ("referral", bonus.id)
    audit_log.record(session, AuditAction.BONUS_LAPSED, actor, user_id=bonus.referrer_id, resource=resource)


def is_deleted(session: Session, user_id: uuid.UUID) -> bool:
    """Return whether a user has deleted their account."""
    return session.scalar(select(User.deleted_at).where(User.id == user_id)) is not None


def buyer_owes() -> ColumnElement[bool]:
    """Return an SQL condition: the bonus's buyer is in debt."""
    is_buyers_debt = and_(Account.user_id == ReferralBonus.referred_id, Account.kind == AccountKind.RECEIVABLE)
    return exists().where(is_buyers_debt, Account.balance < 0)


def _settle(session: Session, bonus: ReferralBonus, returned: Decimal, *, because: str, actor: Actor) -> None:
    """Adjust a locked bonus to what is neither refunded nor unbacked, and transfer the difference."""
    backed = bonus_backing.backed_part(session, bonus.referred_id, bonus.price)
    left = min(bonus.amount - returned, round_down(bonus.amount * backed / bonus.price))
    change = left - bonus.left
    if change:
        _move(session, bonus, abs(change), back=change < 0, key=f"bonus-back:{bonus.id}:{because}", actor=actor)
        resource, facts = ("referral", bonus.id), {"amount": str(change)}
        action = AuditAction.BONUS_CORRECTED
        audit_log.record(session, action, actor, user_id=bonus.referrer_id, resource=resource, **facts)
    bonus.returned, bonus.withheld = returned, bonus.amount - returned - left
    session.flush()


def _move(session: Session, bonus: ReferralBonus, amount: Decimal, *, back: bool, key: str, actor: Actor) -> None:
    """Transfer a part of a bonus: back to the pool, or to the account where the referrer has it now."""
    held = transfers.personal_account(session, bonus.referrer_id, AccountKind.HELD)
    wallet, pool = (
        transfers.wallet_of(session, bonus.referrer_id),
        transfers.system_account(session, AccountKind.BONUSES),
    )

    def book(debit: Account, credit: Account, part: Decimal, name: str) -> None:
        transfers.transfer(
            session,
            TransferKind.REVERSAL if back else TransferKind.REFERRAL_BONUS,
            debit=debit,
            credit=credit,
            amount=part,
            purpose=TransferPurpose.REFERRAL_BONUS_REVERSED if back else TransferPurpose.REFERRAL_BONUS,
            reference=("referral", bonus.id),
            idempotency_key=name,
            actor=actor,
        )

    if bonus.ended_at is None:
        book(*((held, pool) if back else (pool, held)), amount, key)
    elif not back:
        book(pool, wallet, amount, key)
    else:
        from_wallet = min(amount, transfers.locked_wallet(session, bonus.referrer_id).balance)
        if from_wallet:
            book(wallet, pool, from_wallet, key)
        if amount > from_wallet:
            receivable = transfers.personal_account(session, bonus.referrer_id, AccountKind.RECEIVABLE)
            book(receivable, pool, amount - from_wallet, f"{key}:debt")
