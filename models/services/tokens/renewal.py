"""Auto-renewal: extend a token by the same duration from the owner's balance before it expires.

Owners are notified of the price when they switch it on and a day ahead, and of the result. A price that rose since is
announced again, and nothing is charged unless the owner agrees. If a renewal fails, it is switched off and the owner
notified. A renewal is identified by token and paid time: one period.
"""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, case, exists, func, select
from sqlalchemy.orm import Session

from models.access_tokens import HOUR, AccessToken, TokenState, pauses_at
from models.audit import AuditAction
from models.config.settings import Settings
from models.outages import Outage
from models.services.actor import PLATFORM, Actor
from models.services.audit import log as audit_log
from models.services.errors import DomainError, DuplicateTransfer
from models.services.gateway import outages
from models.services.ledger import transfers
from models.services.notifications import outbox
from models.services.tokens import extension
from models.services.tokens import purchase as token_purchase
from models.services.tokens import queries as token_queries
from models.token_events import TokenEventKind
from models.users import User

# Closed, but its credit is not booked yet.
UNCREDITED = Outage.closed_at.is_not(None) & Outage.credited_at.is_(None)


def set_auto_renew(
    session: Session,
    owner: User,
    token_id: uuid.UUID,
    *,
    on: bool,
    settings: Settings,
    actor: Actor,
    shown: Decimal | None = None,
) -> AccessToken:
    """Switch a token's auto-renewal on or off; `on` again accepts a raised price.

    `shown` is the price that the owner saw. Raises NotFound, TokenEnded, PriceChanged, and InvalidInput when the
    duration is no longer sold.
    """
    token = token_queries.lock_owned(session, owner, token_id)
    token_queries.require_not_ended(token.state(token_queries.accounting_time(session, token)))
    agreed = None
    if on:
        agreed = token_purchase.price_of(settings, token.duration_hours)
        token_purchase.require_price_shown(agreed, shown)
    if token.auto_renew is not on or token.renewal_asked_price is not None:
        token.renewal_price, token.renewal_asked_price = agreed, None
    if token.auto_renew is not on:
        token.auto_renew = on
        token.renewal_told_for = None
        resource = ("token", token.id)
        audit_log.record(session, AuditAction.TOKEN_AUTO_RENEW_SET, actor, user_id=owner.id, resource=resource, on=on)
    return token


def due(session: Session, settings: Settings, *, limit: int = 500) -> list[uuid.UUID]:
    """Return tokens to be renewed now, first to expire first."""
    if _waits_for_outage(session, settings):
        return []
    return _find(session, _is_due(settings, token_queries.accounting_time_of_all(session)), limit)


def due_to_notify(session: Session, settings: Settings, *, limit: int = 500) -> list[uuid.UUID]:
    """Return tokens whose owners have to be notified of the coming renewal."""
    return _find(session, _needs_notification(settings, token_queries.accounting_time_of_all(session)), limit)


def renew(session: Session, token_id: uuid.UUID, settings: Settings) -> bool:
    """Renew a token that is due, or stop its renewal; return whether it was due.

    The row lock is the claim: a concurrent job finds nothing. A token locked by another transaction is left for the
    next run; one revoked, paused or extended meanwhile is no longer due.
    """
    if _waits_for_outage(session, settings):
        return False
    token = _claimed(session, token_id, _is_due(settings, token_queries.accounting_time_of_all(session)))
    if token is None:
        return False
    owner = session.get_one(User, token.user_id, populate_existing=True)
    price = settings.prices.znc.get(token.duration_hours)
    if token.state(token_queries.accounting_time(session, token)) is TokenState.EXPIRED:
        asked = token.renewal_asked_price
        _stop(session, token, owner, "late" if asked is None else "price", price=_znc(asked))
    elif not owner.is_active:
        _stop(session, token, owner, "disabled")
    elif price is None:
        _stop(session, token, owner, "not_for_sale")
    elif token.renewal_price is None or price > token.renewal_price:
        _ask_for_consent(session, token, owner, price)
    else:
        _buy(session, token, owner, price)
    return True


def notify(session: Session, token_id: uuid.UUID, settings: Settings) -> bool:
    """Notify a token's owner of the coming renewal; return whether that was due."""
    token = _claimed(session, token_id, _needs_notification(settings, token_queries.accounting_time_of_all(session)))
    if token is None:
        return False
    owner = session.get_one(User, token.user_id)
    price = settings.prices.znc.get(token.duration_hours)
    if token.renewal_told_for == token.paid_seconds and price is not None:
        _ask_for_consent(session, token, owner, price)
        return True
    balance = transfers.wallet_of(session, owner.id).balance
    short = None if price is None else max(Decimal(0), price - balance)
    facts: dict[str, Any] = {"price": _znc(price), "balance": _znc(balance), "short": _znc(short or None)}
    _enqueue_mail(session, "renewal_ahead", token, owner, **facts)
    token.renewal_told_for = token.paid_seconds
    token.renewal_price, token.renewal_asked_price = price, None
    return True


def _ask_for_consent(session: Session, token: AccessToken, owner: User, price: Decimal) -> None:
    """Notify the owner of a raised price, which is charged only if they agree."""
    facts: dict[str, Any] = {"price": _znc(price), "told": _znc(token.renewal_price)}
    _enqueue_mail(session, "renewal_price", token, owner, key=f"{token.paid_seconds}:{price}", **facts)
    token.renewal_asked_price = price


def _buy(session: Session, token: AccessToken, owner: User, price: Decimal) -> None:
    period = token.paid_seconds
    try:
        # A savepoint: a refused transfer is rolled back while the token's lock is kept.
        with session.begin_nested():
            extension.add_time(
                session,
                token,
                TokenEventKind.RENEWED,
                hours=token.duration_hours,
                price=price,
                key=f"renew:{token.id}:{period}",
                actor=PLATFORM,
            )
    except DuplicateTransfer:
        raise
    except DomainError:
        _stop(session, token, owner, "balance", price=_znc(price))
        return
    balance = transfers.wallet_of(session, owner.id).balance
    _enqueue_mail(session, "renewed", token, owner, price=_znc(price), balance=_znc(balance))
    facts: dict[str, Any] = {"hours": token.duration_hours, "price": str(price)}
    resource = ("token", token.id)
    audit_log.record(session, AuditAction.TOKEN_RENEWED, PLATFORM, user_id=owner.id, resource=resource, **facts)


def _stop(session: Session, token: AccessToken, owner: User, reason: str, **facts: Any) -> None:
    token.auto_renew = False
    _enqueue_mail(session, "renewal_stopped", token, owner, reason=reason, **facts)
    resource = ("token", token.id)
    action = AuditAction.TOKEN_RENEWAL_STOPPED
    audit_log.record(session, action, PLATFORM, user_id=owner.id, resource=resource, reason=reason)


def _enqueue_mail(session: Session, kind: str, token: AccessToken, owner: User, *, key: str = "", **facts: Any) -> None:
    """Enqueue a mail about this period of the token, once."""
    ends = token.expires_at
    outbox.enqueue_mail(
        session,
        kind,
        owner,
        dedup_key=f"{kind}:{token.id}:{key or token.paid_seconds}",
        username=owner.username,
        token_id=str(token.id),
        name=token.name or f"{token.prefix}…",
        hours=token.duration_hours,
        ends=ends.isoformat() if ends else None,
        **facts,
    )


def _claimed(session: Session, token_id: uuid.UUID, is_due: ColumnElement[bool]) -> AccessToken | None:
    return session.scalars(
        select(AccessToken)
        .where(AccessToken.id == token_id, is_due)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _find(session: Session, which: ColumnElement[bool], limit: int) -> list[uuid.UUID]:
    return list(session.scalars(select(AccessToken.id).where(which).order_by(AccessToken.ends_at).limit(limit)))


def _ends_within(seconds: Any, moment: datetime) -> ColumnElement[bool]:
    """Return an SQL condition: running tokens with auto-renewal that expire within some seconds."""
    renewing = AccessToken.auto_renew & AccessToken.revoked_at.is_(None) & ~pauses_at(moment)
    until = func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return renewing & (AccessToken.ends_at - until <= moment)


def _is_due(settings: Settings, moment: datetime) -> ColumnElement[bool]:
    """Return an SQL condition: tokens about to expire or expired, unless the owner has yet to agree to the price."""
    asked = AccessToken.renewal_asked_price.is_not_distinct_from(_listed(settings))
    waits = AccessToken.renewal_asked_price.is_not(None) & asked & (AccessToken.ends_at > moment)
    return _ends_within(settings.renewal.claim_seconds, moment) & ~waits


def _needs_notification(settings: Settings, moment: datetime) -> ColumnElement[bool]:
    """Return an SQL condition: the owner has to be notified of the next end or its price.

    That is a day before the end, or half the token's duration if that is less.
    """
    ahead = func.least(settings.renewal.tell_hours * HOUR, AccessToken.duration_hours * (HOUR // 2))
    untold = AccessToken.renewal_told_for.is_distinct_from(AccessToken.paid_seconds)
    rose = (_listed(settings) > AccessToken.renewal_price) & AccessToken.renewal_asked_price.is_distinct_from(
        _listed(settings)
    )
    return _ends_within(ahead, moment) & (untold | rose) & ~_ends_within(settings.renewal.claim_seconds, moment)


def _listed(settings: Settings) -> ColumnElement[Any]:
    """Return in SQL the current price of the token's duration; NULL when it is not sold."""
    return case(settings.prices.znc, value=AccessToken.duration_hours)


def _waits_for_outage(session: Session, settings: Settings) -> bool:
    """Return whether renewals wait for an open outage, whose credit may extend the tokens.

    They continue once the credit is booked.
    """
    if settings.renewal.in_outage == "renew":
        return False
    is_open = outages.current_outage(session, settings.upstream.probe_gap) is not None
    return is_open or session.scalar(select(exists().where(UNCREDITED))) is True


def _znc(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"
