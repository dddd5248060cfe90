"""Admin lists of tokens, sessions, payments and audit entries, with filters, each served by an index."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, DateTime, and_, false, literal_column, select
from sqlalchemy.orm import joinedload

from models import clock
from models.access_tokens import ENDS, AccessToken, TokenState, pauses_at
from models.audit import AuditAction, AuditEntry
from models.payments import Payment, PaymentStatus
from models.proxy_sessions import ProxySession
from models.services import text_validation
from models.services.accounts.users import matches_text
from models.services.crypto import secrets
from models.services.pagination import ListQuery
from models.services.tokens import queries as token_queries
from models.users import User

# At most this many users match an owner filter.
OWNERS = 100


def tokens(
    *, prefix: str = "", owner: str = "", state: TokenState | None = None, user_id: uuid.UUID | None = None
) -> ListQuery[AccessToken]:
    """Return the list of tokens with their owners, newest first; `prefix` matches from the start, or is an id."""
    query = select(AccessToken).options(joinedload(AccessToken.user))
    prefix, owner = prefix.strip(), owner.strip()
    if not (text_validation.is_printable(prefix) and text_validation.is_printable(owner)):
        query = query.where(false())
    if prefix:
        query = query.where(_is_named(prefix))
    if owner:
        query = query.where(AccessToken.user_id.in_(select(User.id).where(matches_text(owner)).limit(OWNERS)))
    if user_id is not None:
        query = query.where(AccessToken.user_id == user_id)
    if state is not None:
        query = query.where(_is_in(state))
    return ListQuery(query, (AccessToken.created_at.desc(), AccessToken.id))


def sessions(*, open_only: bool = False, user_id: uuid.UUID | None = None) -> ListQuery[ProxySession]:
    """Return the list of proxy sessions with owner and token, newest first."""
    query = select(ProxySession).options(joinedload(ProxySession.user), joinedload(ProxySession.token))
    if open_only:
        query = query.where(ProxySession.ended_at.is_(None))
    if user_id is not None:
        query = query.where(ProxySession.user_id == user_id)
    return ListQuery(query, (ProxySession.started_at.desc(), ProxySession.id))


def payments(
    *, status: PaymentStatus | None = None, provider: str = "", user_id: uuid.UUID | None = None
) -> ListQuery[Payment]:
    """Return the list of payments with their payers, newest first."""
    query = select(Payment).options(joinedload(Payment.user))
    if status is not None:
        query = query.where(Payment.status == status)
    if provider:
        query = query.where(Payment.provider == provider if text_validation.is_printable(provider) else false())
    if user_id is not None:
        query = query.where(Payment.user_id == user_id)
    return ListQuery(query, (Payment.created_at.desc(), Payment.id))


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Filter of the audit log; None and empty fields do not restrict."""

    action: AuditAction | None = None
    user_id: uuid.UUID | None = None
    actor_id: uuid.UUID | None = None
    resource: str = ""
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None


def audit(wanted: AuditFilter) -> ListQuery[AuditEntry]:
    """Return the list of audit entries, newest first."""
    query = select(AuditEntry).options(joinedload(AuditEntry.actor), joinedload(AuditEntry.user))
    if not (text_validation.is_printable(wanted.resource) and text_validation.is_printable(wanted.request_id)):
        query = query.where(false())
    if wanted.action is not None:
        query = query.where(AuditEntry.action == wanted.action)
    if wanted.user_id is not None:
        query = query.where(AuditEntry.user_id == wanted.user_id)
    if wanted.actor_id is not None:
        query = query.where(AuditEntry.actor_id == wanted.actor_id)
    if wanted.resource:
        query = query.where(AuditEntry.resource_type == wanted.resource)
    if wanted.request_id:
        query = query.where(AuditEntry.request_id == wanted.request_id)
    if wanted.since is not None:
        query = query.where(AuditEntry.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEntry.created_at < wanted.until)
    return ListQuery(query, (AuditEntry.id.desc(),))


def _is_named(prefix: str) -> ColumnElement[bool]:
    try:
        return AccessToken.id == uuid.UUID(prefix)
    except ValueError:
        return AccessToken.prefix.startswith(prefix[: secrets.PREFIX_LENGTH], autoescape=True)


def _is_in(state: TokenState) -> ColumnElement[bool]:
    """Return an SQL condition for a token's current state, equivalent to `AccessToken.state`."""
    if state is TokenState.REVOKED:
        return AccessToken.revoked_at.is_not(None)
    if state is TokenState.READY:
        return and_(AccessToken.revoked_at.is_(None), AccessToken.activated_at.is_(None), ~pauses_at(clock.now()))
    now = clock.now()
    if state is TokenState.PAUSED:
        return and_(AccessToken.revoked_at.is_(None), pauses_at(now))
    if state is TokenState.ACTIVE:
        return token_queries.is_running(now)
    started = and_(AccessToken.revoked_at.is_(None), AccessToken.activated_at.is_not(None))
    return and_(started, literal_column(ENDS, DateTime(timezone=False)) <= now.replace(tzinfo=None))
