"""Browser access: one-time tickets from the portal and the cookies issued for them (docs/spec/http.md#browser-access).

A browser cannot add headers. Its owner presses "Open in browser" and is sent to the proxy with a ticket, which the
proxy takes back for a cookie: a secret of its own, so that the token itself is in no browser and in no address.
"""

import math
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from models import clock
from models.access_tokens import AccessToken, TokenState, ended_by
from models.audit import AuditAction
from models.browser_access import AccessCookie, AccessTicket
from models.config.settings import Settings
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.crypto import secrets
from models.services.crypto.secrets import Purpose
from models.services.errors import AccountDisabled, TicketRefused, TokenUnusable
from models.services.gateway import invalidation, token_lookup
from models.services.gateway.token_lookup import TokenSnapshot
from models.services.tokens import queries as token_queries
from models.users import User

TICKET_SECONDS = 30
USABLE = {TokenState.READY, TokenState.ACTIVE}
# Cookies of an expired token are kept this long: an outage credit may extend the token.
KEEP_EXPIRED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class BrowserLogin:
    """A redeemed ticket: the cookie, shown once, and the seconds for which the browser should keep it."""

    secret: str
    seconds: int
    scope: str


def issue_ticket(session: Session, owner: User, token_id: uuid.UUID, *, settings: Settings, actor: Actor) -> str:
    """Create a one-time ticket for the owner's token and return its secret.

    Raises NotFound for another user's token, TokenUnusable for one that would be refused, AccountDisabled.
    """
    token = token_queries.owned(session, owner, token_id)
    if not owner.is_active:
        raise AccountDisabled
    moment = clock.now()
    state = token.state(moment)
    if state not in USABLE:
        raise TokenUnusable(state)
    secret = secrets.new_secret(settings.tokens, Purpose.TICKET)
    ticket = AccessTicket(
        token_id=token.id,
        secret_hash=secrets.hash_of(settings.tokens, secret, Purpose.TICKET),
        created_at=moment,
        expires_at=moment + timedelta(seconds=TICKET_SECONDS),
    )
    session.add(ticket)
    session.flush()
    audit_log.record(session, AuditAction.TICKET_ISSUED, actor, user_id=owner.id, resource=("token", token.id))
    return secret


def grants_access(session: Session, ticket_hash: bytes) -> str | None:
    """Return the prefix of the token that a ticket grants access to, without using it; None for an invalid ticket."""
    return session.scalar(
        select(AccessToken.prefix)
        .join(AccessTicket, AccessTicket.token_id == AccessToken.id)
        .where(AccessTicket.secret_hash == ticket_hash, _is_fresh())
    )


def redeem(
    session: Session, ticket_hash: bytes, *, settings: Settings, actor: Actor, held: bytes | None = None
) -> BrowserLogin:
    """Redeem a ticket and return its cookie. Raises TicketRefused.

    `held` is the hash of the browser's present cookie. If it belongs to the same token, the new cookie replaces it and
    keeps its device: otherwise a browser that returns would conflict with its own earlier session.
    """
    # Lock order: token before ticket, as in `end_of_token`; another order could deadlock.
    found = session.execute(
        select(AccessToken, User)
        .join(User, User.id == AccessToken.user_id)
        .join(AccessTicket, AccessTicket.token_id == AccessToken.id)
        .where(AccessTicket.secret_hash == ticket_hash)
        .with_for_update(of=AccessToken)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise TicketRefused
    token, owner = found
    moment = clock.now()
    # Race: one ticket sent twice concurrently. Only one of them changes the row.
    used = session.scalar(
        update(AccessTicket)
        .where(AccessTicket.secret_hash == ticket_hash, _is_fresh())
        .values(used_at=moment)
        .returning(AccessTicket.id)
        .execution_options(synchronize_session=False)
    )
    if used is None or token.state(moment) not in USABLE or not owner.is_active:
        raise TicketRefused
    former = _end_cookie(session, held, token) if held is not None else None
    secret = secrets.new_secret(settings.tokens, Purpose.COOKIE)
    cookie = AccessCookie(
        token_id=token.id,
        secret_hash=secrets.hash_of(settings.tokens, secret, Purpose.COOKIE),
        device_id=former or f"browser-{os.urandom(10).hex()}",
        created_at=moment,
    )
    session.add(cookie)
    session.flush()
    # The visitor has no login; the token's owner gave them the ticket.
    visitor = replace(actor, user_id=owner.id)
    audit_log.record(session, AuditAction.COOKIE_OPENED, visitor, user_id=owner.id, resource=("token", token.id))
    expires_at = token.expires_at
    left = token.paid_seconds if expires_at is None else math.ceil((expires_at - moment).total_seconds())
    return BrowserLogin(secret, left, token.scope)


def find_by_cookie(session: Session, cookie_hash: bytes) -> TokenSnapshot | None:
    """Return the token of a cookie, with the cookie's own device; None for an unknown cookie."""
    cookie = session.execute(
        select(AccessCookie.token_id, AccessCookie.device_id).where(
            AccessCookie.secret_hash == cookie_hash, AccessCookie.ended_at.is_(None)
        )
    ).one_or_none()
    if cookie is None:
        return None
    # A change between the two reads is announced after them, so a cache that stores this result is invalidated.
    known = token_lookup.find_by_id(session, [cookie.token_id])[cookie.token_id]
    return replace(known, own_device=cookie.device_id)


def end_of_token(session: Session, token_id: uuid.UUID, *, ended: Sequence[bytes] = ()) -> None:
    """End the tickets and cookies of a token whose secret changes, and invalidate it; `ended` as in `invalidate_token`.

    Not needed for a revoked token: a cookie grants no more than its token.
    """
    invalidation.invalidate_token(session, token_id, ended=ended)
    session.execute(delete(AccessTicket).where(AccessTicket.token_id == token_id))
    session.execute(
        update(AccessCookie)
        .where(AccessCookie.token_id == token_id, AccessCookie.ended_at.is_(None))
        .values(ended_at=clock.now())
    )


def delete_ended(session: Session) -> int:
    """Delete expired tickets and cookies without effect; return the number deleted."""
    moment = clock.now()
    ended_tokens = select(AccessToken.id).where(AccessToken.revoked_at.is_not(None) | ended_by(moment - KEEP_EXPIRED))
    dead = AccessCookie.ended_at.is_not(None) | AccessCookie.token_id.in_(ended_tokens)
    tickets = session.scalars(delete(AccessTicket).where(AccessTicket.expires_at <= moment).returning(AccessTicket.id))
    cookies = session.scalars(delete(AccessCookie).where(dead).returning(AccessCookie.id))
    return len(tickets.all()) + len(cookies.all())


def _is_fresh() -> ColumnElement[bool]:
    return AccessTicket.used_at.is_(None) & (AccessTicket.expires_at > clock.now())


def _end_cookie(session: Session, cookie_hash: bytes, token: AccessToken) -> str | None:
    """End a cookie of this token and return its device; None for another token's cookie."""
    device: str | None = session.scalar(
        update(AccessCookie)
        .where(
            AccessCookie.secret_hash == cookie_hash,
            AccessCookie.token_id == token.id,
            AccessCookie.ended_at.is_(None),
        )
        .values(ended_at=clock.now())
        .returning(AccessCookie.device_id)
        .execution_options(synchronize_session=False)
    )
    if device is not None:
        invalidation.invalidate_token(session, token.id)
    return device
