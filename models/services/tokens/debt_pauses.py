"""Pause tokens bought with a payment that was charged back while the debt is open (`[debt] pause_tokens`).

The transaction that books the debt pauses them. A job does the rest: it resumes tokens once the debt is repaid, and
pauses those that the transaction could not see or lock. A paused token loses no time until the job resumes it.
"""

import uuid
from decimal import Decimal

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from models import clock
from models.access_tokens import AccessToken
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import Account, AccountKind, Transfer, TransferKind
from models.payments import Payment, PaymentReversal
from models.services.actor import PLATFORM
from models.services.audit import log as audit_log
from models.services.gateway import invalidation
from models.services.ledger import transfers
from models.services.notifications import outbox
from models.services.tokens import pause as token_pause
from models.services.tokens import queries as token_queries
from models.token_pauses import TokenPause, is_paused_for_debt
from models.users import User

# A debt has no limit, but a token's end has to be a date: a hundred years.
NO_LIMIT_SECONDS = 100 * 365 * 86400


def differing(settings: Settings) -> Select[uuid.UUID]:
    """Return the query for tokens that have to be paused for a debt and are not, and those to be resumed."""
    return select(AccessToken.id).where(_differs(settings))


def due(session: Session, settings: Settings, *, limit: int = 500) -> list[uuid.UUID]:
    """Return the tokens that have to be paused for a debt and are not, and those that have to be resumed."""
    return list(session.scalars(differing(settings).order_by(AccessToken.id).limit(limit)))


def settle(session: Session, token_id: uuid.UUID, settings: Settings) -> bool:
    """Pause or resume a token as its owner's debt demands; return whether there was anything to do.

    A token that another transaction has locked is left for the next run.
    """
    token = session.scalars(
        select(AccessToken)
        .where(AccessToken.id == token_id, _differs(settings))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if token is None:
        return False
    if not token_pause.is_for_debt(session, token):
        _pause(session, token)
        newest = select(PaymentReversal.id).join(Payment).where(Payment.user_id == token.user_id)
        reversal_id = session.scalars(newest.order_by(PaymentReversal.created_at.desc()).limit(1)).one()
        _notify(session, token.user_id, transfers.debt_of(session, token.user_id), because=reversal_id)
    elif token.paused_at is not None:
        token_pause.end(session, token, token.paused_at, clock.now(), PLATFORM)
    session.flush()
    return True


def lock_tokens(session: Session, user_id: uuid.UUID) -> None:
    """Lock the user's tokens that have not ended, before any account: that is the lock order everywhere.

    An activation at the same instant then either precedes the debt or finds the token paused.
    """
    query = select(AccessToken.id).where(AccessToken.user_id == user_id, token_queries.has_not_ended())
    session.execute(query.order_by(AccessToken.id).with_for_update(key_share=True))


def pause_for(session: Session, user_id: uuid.UUID, debt: Decimal, *, because: uuid.UUID) -> None:
    """Pause the tokens that a user bought with a reversed payment; the caller has locked them and the wallet.

    A token bought since `lock_tokens` is locked only if that needs no wait: waiting for a token with the wallet locked
    could deadlock. The job pauses one that is left. `debt` is in ZNC, `because` the reversal that made it.
    """
    has_to = (AccessToken.user_id == user_id) & token_queries.has_not_ended() & _was_bought_with_reversed_money()
    query = select(AccessToken).where(has_to, ~is_paused_for_debt()).order_by(AccessToken.id)
    tokens = session.scalars(
        query.with_for_update(key_share=True, skip_locked=True).execution_options(populate_existing=True)
    ).all()
    for token in tokens:
        _pause(session, token)
    if tokens:
        _notify(session, user_id, debt, because=because)
    session.flush()


def _pause(session: Session, token: AccessToken) -> None:
    """Pause a locked token without a limit; a pause of its owner's ends."""
    moment = clock.now()
    if token.paused_at is not None:
        token_pause.end(session, token, token.paused_at, moment, PLATFORM)
        session.flush()
    token.paused_at, token.pause_limit_seconds = moment, NO_LIMIT_SECONDS
    session.add(TokenPause(token_id=token.id, started_at=moment, for_debt=True))
    invalidation.invalidate_token(session, token.id)
    resource, facts = ("token", token.id), {"reason": "debt"}
    audit_log.record(session, AuditAction.TOKEN_PAUSED, PLATFORM, user_id=token.user_id, resource=resource, **facts)


def _notify(session: Session, user_id: uuid.UUID, debt: Decimal, *, because: uuid.UUID) -> None:
    """Mail the owner, once for each reversal."""
    user, key = session.get_one(User, user_id), f"tokens_paused:{because}"
    outbox.enqueue_mail(session, "tokens_paused", user, dedup_key=key, username=user.username, debt=f"{debt:.2f}")


def _differs(settings: Settings) -> ColumnElement[bool]:
    held = is_paused_for_debt()
    if not settings.debt.pause_tokens:
        return AccessToken.revoked_at.is_(None) & held
    # Starts from the few debtors, so that no other tokens are read.
    debtors = select(Account.user_id).where(Account.kind == AccountKind.RECEIVABLE, Account.balance < 0)
    has_to = token_queries.has_not_ended() & AccessToken.user_id.in_(debtors) & _was_bought_with_reversed_money()
    return AccessToken.revoked_at.is_(None) & or_(and_(has_to, ~held), and_(held, ~has_to))


def _was_bought_with_reversed_money() -> ColumnElement[bool]:
    """Return in SQL whether a token was bought or extended after the deposit of a payment that was reversed."""
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
