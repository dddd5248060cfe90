"""Auto-renewal: a token whose owner asked for it buys the same duration again, from the balance, before it ends.

Its owner is told a day ahead whether the balance will do, and afterwards what was done. When it cannot be done, the
renewal is switched off, and he is told that too. What is renewed is named by token and paid time: a period of it.
"""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from models import clock
from models.audit import AuditAction
from models.config import Settings
from models.services import audit, extending, ledger, outbox, own_tokens, tokens
from models.services.context import PLATFORM, Actor
from models.services.errors import DomainError, DuplicateTransfer
from models.token_events import TokenEventKind
from models.tokens import HOUR, AccessToken, TokenState, pauses_at
from models.users import User


def set_auto_renew(
    session: Session, owner: User, token_id: uuid.UUID, *, on: bool, settings: Settings, actor: Actor
) -> AccessToken:
    """Switch the renewal of the owner's token on or off.

    Raises NotFound, TokenEnded, and InvalidInput when its duration is not for sale any more.
    """
    token = own_tokens.locked(session, owner, token_id)
    own_tokens.refuse_ended(token.state(clock.now()))
    if on:
        tokens.price_of(settings, token.duration_hours)
    if token.auto_renew is not on:
        token.auto_renew = on
        token.renewal_told_for = None
        resource = ("token", token.id)
        audit.record(session, AuditAction.TOKEN_AUTO_RENEW_SET, actor, user_id=owner.id, resource=resource, on=on)
    return token


def due(session: Session, settings: Settings, *, limit: int = 500) -> list[uuid.UUID]:
    """Return tokens that are to be renewed now, those that end first coming first."""
    return _find(session, _ends_within(settings.renewal.claim_seconds), limit)


def due_to_tell(session: Session, settings: Settings, *, limit: int = 500) -> list[uuid.UUID]:
    """Return tokens whose owners are to be told what will happen at their end."""
    return _find(session, _is_to_be_told(settings), limit)


def renew(session: Session, token_id: uuid.UUID, settings: Settings) -> bool:
    """Renew a token that is due, or stop its renewal; says whether there was anything to do.

    The row lock is the claim: of two jobs at the same instant one finds nothing. A token that somebody else holds is
    left for the next run, and one that was revoked, paused or extended meanwhile is no longer due.
    """
    token = _claimed(session, token_id, _ends_within(settings.renewal.claim_seconds))
    if token is None:
        return False
    owner = session.get_one(User, token.user_id, populate_existing=True)
    price = settings.prices.znc.get(token.duration_hours)
    if token.state(clock.now()) is TokenState.EXPIRED:
        _stop(session, token, owner, "late")
    elif not owner.is_active:
        _stop(session, token, owner, "disabled")
    elif price is None:
        _stop(session, token, owner, "not_for_sale")
    else:
        _buy(session, token, owner, price)
    return True


def tell(session: Session, token_id: uuid.UUID, settings: Settings) -> bool:
    """Tell the owner of a token what will happen at its end; says whether it was to be told."""
    token = _claimed(session, token_id, _is_to_be_told(settings))
    if token is None:
        return False
    owner = session.get_one(User, token.user_id)
    price = settings.prices.znc.get(token.duration_hours)
    balance = ledger.wallet_of(session, owner.id).balance
    short = None if price is None else max(Decimal(0), price - balance)
    facts = {"price": _znc(price), "balance": _znc(balance), "short": _znc(short or None)}
    _write(session, "renewal_ahead", token, owner, **facts)
    token.renewal_told_for = token.paid_seconds
    return True


def _buy(session: Session, token: AccessToken, owner: User, price: Decimal) -> None:
    period = token.paid_seconds
    try:
        # A savepoint: what a refused transfer has left behind must go, and the token's lock must stay.
        with session.begin_nested():
            extending.add_time(
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
    balance = ledger.wallet_of(session, owner.id).balance
    _write(session, "renewed", token, owner, price=_znc(price), balance=_znc(balance))
    facts: dict[str, Any] = {"hours": token.duration_hours, "price": str(price)}
    resource = ("token", token.id)
    audit.record(session, AuditAction.TOKEN_RENEWED, PLATFORM, user_id=owner.id, resource=resource, **facts)


def _stop(session: Session, token: AccessToken, owner: User, reason: str, **facts: Any) -> None:
    token.auto_renew = False
    _write(session, "renewal_stopped", token, owner, reason=reason, **facts)
    resource = ("token", token.id)
    action = AuditAction.TOKEN_RENEWAL_STOPPED
    audit.record(session, action, PLATFORM, user_id=owner.id, resource=resource, reason=reason)


def _write(session: Session, kind: str, token: AccessToken, owner: User, **facts: Any) -> None:
    """Leave a mail about this period of the token; the same one is not written twice."""
    ends = token.expires_at
    outbox.write(
        session,
        kind,
        owner,
        dedup_key=f"{kind}:{token.id}:{token.paid_seconds}",
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


def _ends_within(seconds: Any) -> ColumnElement[bool]:
    """Tokens to be renewed that run and end within so many seconds."""
    moment: datetime = clock.now()
    renewing = AccessToken.auto_renew & AccessToken.revoked_at.is_(None) & ~pauses_at(moment)
    until = func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return renewing & (AccessToken.ends_at - until <= moment)


def _is_to_be_told(settings: Settings) -> ColumnElement[bool]:
    """Tokens of whose next end nobody was told: a day before, or half of what they buy if that is less."""
    ahead = func.least(settings.renewal.tell_hours * HOUR, AccessToken.duration_hours * (HOUR // 2))
    untold = AccessToken.renewal_told_for.is_distinct_from(AccessToken.paid_seconds)
    return _ends_within(ahead) & untold & ~_ends_within(settings.renewal.claim_seconds)


def _znc(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"
