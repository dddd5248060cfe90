"""Tokens bought with money that was charged back stand still while the debt is open (`[debt] pause_tokens`).

A job brings tokens and debts together: a debt arises and ends under the wallet's lock, and a token is locked before a
wallet everywhere. Their clocks stand still meanwhile, so nothing is lost by a job that comes a little later.
"""

import uuid

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import Account, AccountKind, Transfer, TransferKind
from models.payments import Payment
from models.services.actor import PLATFORM
from models.services.audit import log as audit_log
from models.services.gateway import invalidation
from models.services.tokens import pause as token_pause
from models.services.tokens import queries as token_queries
from models.token_pauses import TokenPause

# A debt has no limit, and the end of a token has to be a date: a hundred years.
NO_LIMIT_SECONDS = 100 * 365 * 86400


def due(session: Session, settings: Settings, *, limit: int = 500) -> list[uuid.UUID]:
    """Return tokens that have to stand still and do not, and those that do and need not any more."""
    return list(session.scalars(select(AccessToken.id).where(_differs(settings)).order_by(AccessToken.id).limit(limit)))


def settle(session: Session, token_id: uuid.UUID, settings: Settings) -> bool:
    """Let a token stand still, or run on; says whether there was anything to do.

    A token that somebody else holds just now is left for the next run.
    """
    token = session.scalars(
        select(AccessToken)
        .where(AccessToken.id == token_id, _differs(settings))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if token is None:
        return False
    moment, was_for_debt = clock.now(), token_pause.is_for_debt(session, token)
    if token.paused_at is not None:
        token_pause.end(session, token, token.paused_at, moment, PLATFORM)
        session.flush()
    if not was_for_debt:
        token.paused_at, token.pause_limit_seconds = moment, NO_LIMIT_SECONDS
        session.add(TokenPause(token_id=token.id, started_at=moment, for_debt=True))
        invalidation.invalidate_token(session, token.id)
        resource, facts = ("token", token.id), {"reason": "debt"}
        audit_log.record(session, AuditAction.TOKEN_PAUSED, PLATFORM, user_id=token.user_id, resource=resource, **facts)
    session.flush()
    return True


def _differs(settings: Settings) -> ColumnElement[bool]:
    held = exists().where(TokenPause.token_id == AccessToken.id, TokenPause.ended_at.is_(None), TokenPause.for_debt)
    if not settings.debt.pause_tokens:
        return AccessToken.revoked_at.is_(None) & held
    # From the few who owe, so that no other tokens are read.
    debtors = select(Account.user_id).where(Account.kind == AccountKind.RECEIVABLE, Account.balance < 0)
    has_to = token_queries.has_not_ended() & AccessToken.user_id.in_(debtors) & _was_bought_with_reversed_money()
    return AccessToken.revoked_at.is_(None) & or_(and_(has_to, ~held), and_(held, ~has_to))


def _was_bought_with_reversed_money() -> ColumnElement[bool]:
    """Say of a token whether it was bought or extended after a payment came in that went back to its payer."""
    deposit, purchase = aliased(Transfer), aliased(Transfer)
    is_its = or_(
        and_(purchase.reference_type == "token", purchase.reference_id == AccessToken.id),
        and_(purchase.reference_type == "bundle_purchase", purchase.reference_id == AccessToken.bundle_purchase_id),
    )
    return exists().where(
        Payment.user_id == AccessToken.user_id,
        Payment.returned_znc > 0,
        deposit.reference_type == "payment",
        deposit.reference_id == Payment.id,
        deposit.kind == TransferKind.DEPOSIT,
        is_its,
        purchase.kind == TransferKind.PURCHASE,
        purchase.created_at >= deposit.created_at,
    )
