"""Extension: add time to a token; price and paid time grow together, so that the refund formula stays valid."""

import uuid
from decimal import Decimal

from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import HOUR, AccessToken
from models.audit import AuditAction
from models.config.settings import Settings
from models.ledger import AccountKind, TransferKind, TransferPurpose
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.errors import AccountDisabled
from models.services.gateway import invalidation
from models.services.ledger import transfers
from models.services.tokens import purchase as token_purchase
from models.services.tokens import queries as token_queries
from models.token_events import TokenEvent, TokenEventKind
from models.users import User


def extend(
    session: Session,
    owner: User,
    token_id: uuid.UUID,
    *,
    hours: int,
    key: uuid.UUID,
    settings: Settings,
    actor: Actor,
    shown: Decimal | None = None,
) -> Decimal:
    """Add hours to the owner's token at the list price and return the price in ZNC.

    The token may be unused, running or paused. A form that carries its own `key` extends once: the second time raises
    DuplicateTransfer. `shown` is the price that the owner saw. Raises NotFound, TokenEnded, PriceChanged, InvalidInput,
    InsufficientFunds and AccountDisabled as well.
    """
    price = token_purchase.price_of(settings, hours)
    token_purchase.require_price_shown(price, shown)
    if not owner.is_active:
        raise AccountDisabled
    token = token_queries.lock_owned(session, owner, token_id)
    token_queries.require_not_ended(token.state(token_queries.accounting_time(session, token)))
    resource = ("token", token.id)
    facts = {"hours": hours, "price": str(price)}
    audit_log.record(session, AuditAction.TOKEN_EXTENDED, actor, user_id=owner.id, resource=resource, **facts)
    add_time(session, token, TokenEventKind.EXTENDED, hours=hours, price=price, key=f"extend:{key}", actor=actor)
    return price


def add_time(
    session: Session,
    token: AccessToken,
    kind: TokenEventKind,
    *,
    hours: int,
    price: Decimal,
    key: str,
    actor: Actor,
) -> None:
    """Debit the owner's wallet and add the time; the caller holds the token's row lock.

    Raises DuplicateTransfer and InsufficientFunds.
    """
    seconds = hours * HOUR
    token.price_paid += price
    token.paid_seconds += seconds
    session.add(TokenEvent(token_id=token.id, kind=kind, happened_at=clock.now(), seconds=seconds, price=price))
    invalidation.invalidate_token(session, token.id)
    transfers.transfer(
        session,
        TransferKind.PURCHASE,
        debit=transfers.wallet_of(session, token.user_id),
        credit=transfers.system_account(session, AccountKind.SALES),
        amount=price,
        purpose=TransferPurpose.TOKEN_EXTENSION,
        details={"duration": hours, "prefix": f"{token.prefix}…"},
        reference=("token", token.id),
        idempotency_key=key,
        actor=actor,
    )
