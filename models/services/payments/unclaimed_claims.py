"""Unclaimed money as admins see it: list it, refund it to its payer, or book it to the user who registered again."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.ledger import AccountKind, Transfer, TransferKind, TransferPurpose
from models.payments import Payment, PaymentReversal, ReversalCause
from models.services.accounts import former_accounts
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound
from models.services.ledger import transfers
from models.services.ledger.money import CENT
from models.services.pagination import MAX_LIMIT, MAX_OFFSET, Page
from models.services.payments import refunds, reversals, unclaimed_money
from models.users import User


@dataclass(frozen=True, slots=True)
class UnclaimedSum:
    """ZNC of a payment, or of a deleted user's wallet (no payment), that wait for an admin.

    `returned_as` is the account with which the payer has registered again.
    """

    payer: User
    payment: Payment | None
    amount: Decimal
    since: datetime
    returned_as: User | None


def list_unclaimed(session: Session, *, limit: int, offset: int) -> Page[UnclaimedSum]:
    """Return a page of the unclaimed money, the newest first."""
    limit, offset = min(max(limit, 1), MAX_LIMIT), min(max(offset, 0), MAX_OFFSET)
    query = _sums(session)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    newest_first = query.order_by(func.max(Transfer.created_at).desc(), Transfer.reference_id)
    found = session.execute(newest_first.limit(limit).offset(offset)).all()
    payments = _by_id(session, Payment, [row.reference_id for row in found if row.reference_type == "payment"])
    users = _by_id(session, User, [*(p.user_id for p in payments.values()), *(row.reference_id for row in found)])
    items = []
    for row in found:
        payment = payments.get(row.reference_id) if row.reference_type == "payment" else None
        payer = users[payment.user_id if payment else row.reference_id]
        returned = former_accounts.returned_as(session, payer.id)
        items.append(UnclaimedSum(payer, payment, row.amount, row.since, returned))
    return Page(items, total, limit, offset)


def refund_to_payer(session: Session, payment_id: uuid.UUID, *, key: uuid.UUID, actor: Actor) -> PaymentReversal:
    """Refund the unclaimed money of a payment; a job asks the provider.

    `key` becomes the reversal's id: a form sent twice raises DuplicateTransfer. Raises NotFound when nothing of the
    payment is unclaimed, and NotRefundable.
    """
    payment = reversals.lock_payment(session, payment_id)
    amount = unclaimed_money.unclaimed_balance(session, "payment", payment.id)
    if not amount and session.get(PaymentReversal, key) is None:
        raise NotFound("unclaimed_money")
    left_rub, left_znc = payment.amount_rub - payment.returned_rub, payment.amount_znc - payment.returned_znc
    amount_rub = left_rub if amount >= left_znc else (amount * payment.rub_per_znc).quantize(CENT, rounding=ROUND_DOWN)
    facts: dict[str, Any] = {"cause": ReversalCause.ACCOUNT_DELETED, "key": key, "actor": actor}
    return refunds.request(session, payment.id, amount_rub=amount_rub, **facts)


def book_to_returned(session: Session, payer_id: uuid.UUID, payment_id: uuid.UUID | None, *, actor: Actor) -> Decimal:
    """Book unclaimed money of a deleted account to the user who registered again with its address; returns the ZNC.

    It repays a debt of theirs first. Raises NotFound when nothing is unclaimed, as in a second call, and when nobody
    has registered again.
    """
    if payment_id is not None and reversals.lock_payment(session, payment_id).user_id != payer_id:
        raise NotFound("payment")
    user = former_accounts.returned_as(session, payer_id)
    if user is None:
        raise NotFound("user")
    # The older account first, everywhere.
    transfers.locked_wallet(session, payer_id)
    wallet = transfers.locked_wallet(session, user.id)
    reference = ("user", payer_id) if payment_id is None else ("payment", payment_id)
    amount = unclaimed_money.unclaimed_balance(session, *reference)
    if amount <= 0:
        raise NotFound("unclaimed_money")
    action, facts = AuditAction.UNCLAIMED_BOOKED, {"amount_znc": str(amount)}
    audit_log.record(session, action, actor, user_id=user.id, resource=reference, **facts)
    transfers.transfer(
        session,
        TransferKind.REVERSAL,
        debit=transfers.system_account(session, AccountKind.UNCLAIMED),
        credit=wallet,
        amount=amount,
        purpose=TransferPurpose.FORMER_ACCOUNT_MONEY,
        reference=reference,
        idempotency_key=f"claimed:{uuid.uuid4()}",
        actor=actor,
    )
    return amount


def _sums(session: Session) -> Select[str, uuid.UUID, Any, datetime]:
    """Select what is left on the account `unclaimed` of each payment or user, and when it last changed."""
    pool = transfers.system_account(session, AccountKind.UNCLAIMED)
    signed = func.sum(case((Transfer.credit_account_id == pool.id, Transfer.amount), else_=-Transfer.amount))
    since = func.max(Transfer.created_at).label("since")
    query = select(Transfer.reference_type, Transfer.reference_id, signed.label("amount"), since)
    query = query.where((Transfer.credit_account_id == pool.id) | (Transfer.debit_account_id == pool.id))
    return query.group_by(Transfer.reference_type, Transfer.reference_id).having(signed != 0)


def _by_id[T: (Payment, User)](session: Session, table: type[T], ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, T]:
    return {row.id: row for row in session.scalars(select(table).where(table.id.in_(ids)))}
