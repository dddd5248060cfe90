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
from models.services.gateway import invalidation, sessions
from models.services.gateway.sessions import TokenSnapshot
from models.services.tokens import queries as token_queries
from models.users import User

TICKET_SECONDS = 30
USABLE = {TokenState.READY, TokenState.ACTIVE}
# The cookies of a token that ran out are kept so long: credit for an outage may let it run on.
KEEP_EXPIRED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class BrowserLogin:
    """A browser was let in: its cookie, known only now, and the seconds for which the browser should keep it."""

    secret: str
    seconds: int
    scope: str


def issue_ticket(session: Session, owner: User, token_id: uuid.UUID, *, settings: Settings, actor: Actor) -> str:
    """Make a ticket for the owner's token and return its secret.

    Raises NotFound for a stranger's token, TokenUnusable for one that would not be let through, AccountDisabled.
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
    """Return the prefix of the token that a ticket opens, without using it up; None for one that opens nothing."""
    return session.scalar(
        select(AccessToken.prefix)
        .join(AccessTicket, AccessTicket.token_id == AccessToken.id)
        .where(AccessTicket.secret_hash == ticket_hash, _is_fresh())
    )


def redeem(
    session: Session, ticket_hash: bytes, *, settings: Settings, actor: Actor, held: bytes | None = None
) -> BrowserLogin:
    """Take a ticket and return the cookie it is good for. Raises TicketRefused.

    `held` is the hash of the cookie that the browser has already. If that one opens the same token, the new one takes
    its place and its device: otherwise a browser that came in twice would be refused for its own earlier visit.
    """
    # Token before ticket, as in `end_of_token`: two orders would be a deadlock.
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
    # The race: one ticket sent twice at the same instant. Both come here, but only one of them changes the row.
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
    # Who comes with a ticket has no login here; it was the token's owner who gave it to him.
    visitor = replace(actor, user_id=owner.id)
    audit_log.record(session, AuditAction.COOKIE_OPENED, visitor, user_id=owner.id, resource=("token", token.id))
    expires_at = token.expires_at
    left = token.paid_seconds if expires_at is None else math.ceil((expires_at - moment).total_seconds())
    return BrowserLogin(secret, left, token.scope)


def find_by_cookie(session: Session, cookie_hash: bytes) -> TokenSnapshot | None:
    """Look up the token that a cookie stands for, with the cookie's own device; None when there is no such cookie."""
    cookie = session.execute(
        select(AccessCookie.token_id, AccessCookie.device_id).where(
            AccessCookie.secret_hash == cookie_hash, AccessCookie.ended_at.is_(None)
        )
    ).one_or_none()
    if cookie is None:
        return None
    # A change between the two reads is announced after them, and whoever keeps this answer hears of it.
    known = sessions.find_by_id(session, [cookie.token_id])[cookie.token_id]
    return replace(known, own_device=cookie.device_id)


def end_of_token(session: Session, token_id: uuid.UUID, *, ended: Sequence[bytes] = ()) -> None:
    """End the tickets and cookies of a token whose secret changes, and announce it; `ended` as in `announce_token`.

    A revoked token needs none of this: a cookie opens what its token opens.
    """
    invalidation.invalidate_token(session, token_id, ended=ended)
    session.execute(delete(AccessTicket).where(AccessTicket.token_id == token_id))
    session.execute(
        update(AccessCookie)
        .where(AccessCookie.token_id == token_id, AccessCookie.ended_at.is_(None))
        .values(ended_at=clock.now())
    )


def delete_ended(session: Session) -> int:
    """Remove tickets whose time is over and cookies that open nothing any more; returns how many went."""
    moment = clock.now()
    ended_tokens = select(AccessToken.id).where(AccessToken.revoked_at.is_not(None) | ended_by(moment - KEEP_EXPIRED))
    dead = AccessCookie.ended_at.is_not(None) | AccessCookie.token_id.in_(ended_tokens)
    tickets = session.scalars(delete(AccessTicket).where(AccessTicket.expires_at <= moment).returning(AccessTicket.id))
    cookies = session.scalars(delete(AccessCookie).where(dead).returning(AccessCookie.id))
    return len(tickets.all()) + len(cookies.all())


def _is_fresh() -> ColumnElement[bool]:
    return AccessTicket.used_at.is_(None) & (AccessTicket.expires_at > clock.now())


def _end_cookie(session: Session, cookie_hash: bytes, token: AccessToken) -> str | None:
    """End a cookie of this token and return its device; None when it is no such cookie."""
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
