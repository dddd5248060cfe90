"""Revocation: end a token and refund its unused time."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import HOUR, AccessToken, TokenState
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import AccountKind, TransferKind, TransferPurpose
from models.services import text_validation
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import NotFound
from models.services.gateway import invalidation, outages
from models.services.ledger import transfers
from models.services.ledger.money import round_down
from models.services.notifications import outbox
from models.services.promotions import bonus_corrections, referrals
from models.services.tokens import bundle_refunds, outage_credit
from models.services.tokens import queries as token_queries
from models.users import User


@dataclass(frozen=True, slots=True)
class RefundPreview:
    """A revocation's refund in ZNC, the time counted as used, and whether the refund is shrinking now.

    `prices` is the list by which used time is charged, None for pro rata. `charge` is what a bundle's token then costs;
    None for a single token.
    """

    amount: Decimal
    used_seconds: int
    shrinks: bool
    prices: Mapping[int, Decimal] | None
    charge: Decimal | None = None


def refund_due(token: AccessToken, moment: datetime, settings: Settings, *, credit: int = 0) -> Decimal:
    """Return the refund if the owner revokes at `moment`, rounded down to 0.01.

    price_paid x max(0, paid_seconds - used_seconds) / paid_seconds; with the list rate, price_paid less the list price,
    at the time of the purchase, of the shortest duration that covers the time used. An unused token is refunded in
    full. `credit` is the unbooked outage credit (`outage_credit.pending`) in seconds.
    """
    return _due_of(token.price_paid, token, moment, settings, credit)


def refund_preview(session: Session, token: AccessToken, settings: Settings) -> RefundPreview:
    """Return the refund of a revocation now, including unbooked outage credit."""
    moment = token_queries.accounting_time(session, token)
    credit = outage_credit.pending(session, token, moment, settings)
    stands_still = credit > 0 and outages.current_outage(session, settings.upstream.probe_gap) is not None
    amount, charge = refund_due(token, moment, settings, credit=credit), None
    if token.bundle_purchase_id is not None:
        alone = bundle_refunds.price_alone(token, settings)
        charge = alone - _due_of(alone, token, moment, settings, credit)
        if settings.refund.bundle_rate == "list" and token.state(moment) not in token_queries.ENDED:
            amount = bundle_refunds.due(session, token, charge, settings)
    return RefundPreview(
        amount=amount,
        used_seconds=max(0, token.used_seconds(moment) - credit),
        shrinks=token.state(moment) is TokenState.ACTIVE and not stands_still,
        prices=None if settings.refund.used_time_rate == "prorata" else token.list_prices_or(settings.prices.znc),
        charge=charge,
    )


def _due_of(price: Decimal, token: AccessToken, moment: datetime, settings: Settings, credit: int) -> Decimal:
    """Return the refund of a price that was paid for the token's time."""
    if token.state(moment) in token_queries.ENDED:
        return Decimal(0)
    used = max(0, token.used_seconds(moment) - credit)
    share = round_down(price * max(0, token.paid_seconds - used) / token.paid_seconds)
    if settings.refund.used_time_rate == "prorata" or token.activated_at is None:
        return share
    prices = token.list_prices_or(settings.prices.znc)
    fitting = [cost for hours, cost in sorted(prices.items()) if hours * HOUR >= used]
    if not fitting:
        return share
    return min(share, max(Decimal(0), round_down(price - fitting[0])))


def revoke(
    session: Session, owner: User, token_id: uuid.UUID, *, settings: Settings, actor: Actor
) -> tuple[AccessToken, Decimal]:
    """Revoke the owner's token and refund its unused time; return the token and the refund in ZNC.

    Raises NotFound for another user's token, TokenEnded for one that is revoked or has expired. The row lock orders a
    concurrent activation before (pro-rata refund) or after (refused) the revocation.
    """
    token = token_queries.lock_owned(session, owner, token_id)
    token_queries.require_not_ended(token.state(token_queries.accounting_time(session, token)))
    bundle_refunds.lock(session, token)
    due = refund_preview(session, token, settings)
    refund = due.amount
    bonus = referrals.lock_bonus(session, token)
    token.bundle_charge = due.charge
    end(session, token, refund, clock.now())
    audit_log.record(
        session,
        AuditAction.TOKEN_REVOKED,
        actor,
        user_id=owner.id,
        resource=("token", token.id),
        refund=str(refund),
        used_seconds=due.used_seconds,
    )
    if refund > 0:
        transfers.transfer(
            session,
            TransferKind.REFUND,
            debit=transfers.system_account(session, AccountKind.SALES),
            credit=transfers.wallet_of(session, owner.id),
            amount=refund,
            purpose=TransferPurpose.TOKEN_REFUND,
            details={"prefix": f"{token.prefix}…"},
            reference=("token", token.id),
            idempotency_key=f"refund:{token.id}",
            actor=actor,
        )
        if bonus is not None:
            bonus_corrections.deduct_refund(session, bonus, token, refund, actor=actor)
    return token, refund


def force_revoke(session: Session, token_id: uuid.UUID, *, reason: str, actor: Actor) -> AccessToken:
    """Revoke any token as an admin, without refund (docs/spec/business-rules.md#refund), and notify its owner.

    Raises NotFound, TokenEnded, and InvalidInput for a bad reason.
    """
    reason = text_validation.one_line(reason, field="reason", at_least=3, at_most=200)
    query = select(AccessToken).where(AccessToken.id == token_id).with_for_update()
    token = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if token is None:
        raise NotFound("token")
    token_queries.require_not_ended(token.state(clock.now()))
    end(session, token, Decimal(0), clock.now())
    owner = session.get_one(User, token.user_id)
    name = token.name or f"{token.prefix}…"
    key = f"token_revoked:{token.id}"
    outbox.enqueue_mail(
        session, "token_revoked", owner, dedup_key=key, username=owner.username, name=name, reason=reason
    )
    resource = ("token", token.id)
    action = AuditAction.TOKEN_FORCE_REVOKED
    audit_log.record(session, action, actor, user_id=token.user_id, resource=resource, reason=reason)
    return token


def end(session: Session, token: AccessToken, refund: Decimal, moment: datetime) -> None:
    """Revoke a token and invalidate it in all caches. The caller books the refund and writes the audit row."""
    token.revoked_at = moment
    token.refund_amount = refund
    invalidation.invalidate_token(session, token.id)
