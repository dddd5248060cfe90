"""Admin's view of one user: the newest rows of each kind, without counting the rest."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from models.access_tokens import AccessToken
from models.audit import AuditAction, AuditEntry
from models.ledger import PERSONAL, Account, AccountKind, Transfer
from models.logins import Login
from models.payments import Payment
from models.proxy_sessions import ProxySession
from models.services import text_validation
from models.services.accounts import users
from models.services.actor import Actor
from models.services.audit import log as audit_log
from models.services.ledger import wallet_history
from models.user_notes import UserNote
from models.users import User

SHOWN = 10


@dataclass(frozen=True, slots=True)
class UserProfile:
    """A user's profile for admins; each list holds the newest `SHOWN` rows. Amounts are in ZNC."""

    user: User
    wallet: Account
    held: Decimal
    debt: Decimal
    transactions: Sequence[Transfer]
    tokens: Sequence[AccessToken]
    sessions: Sequence[ProxySession]
    payments: Sequence[Payment]
    logins: Sequence[Login]
    notes: Sequence[UserNote]
    entries: Sequence[AuditEntry]


def load_profile(session: Session, user_id: uuid.UUID) -> UserProfile:
    """Return a user's profile. Raises NotFound."""
    user = users.by_id(session, user_id)
    rows = session.scalars(select(Account).where(Account.user_id == user.id, Account.kind.in_(PERSONAL)))
    accounts = {account.kind: account for account in rows}
    wallet = accounts[AccountKind.WALLET]
    held, owed = accounts.get(AccountKind.HELD), accounts.get(AccountKind.RECEIVABLE)

    def newest(query: Select[Any], *order: Any) -> Sequence[Any]:
        return session.scalars(query.order_by(*order).limit(SHOWN)).all()

    return UserProfile(
        user=user,
        wallet=wallet,
        held=held.balance if held else Decimal(0),
        debt=-owed.balance if owed else Decimal(0),
        transactions=wallet_history.latest(session, wallet, SHOWN),
        tokens=newest(_of(AccessToken, user), AccessToken.created_at.desc(), AccessToken.id),
        sessions=newest(
            _of(ProxySession, user).options(joinedload(ProxySession.token)),
            ProxySession.started_at.desc(),
            ProxySession.id,
        ),
        payments=newest(_of(Payment, user), Payment.created_at.desc(), Payment.id),
        logins=newest(_of(Login, user).where(Login.ended_at.is_(None)), Login.last_seen_at.desc(), Login.id),
        notes=newest(_of(UserNote, user).options(joinedload(UserNote.author)), UserNote.id.desc()),
        entries=newest(
            _of(AuditEntry, user).options(joinedload(AuditEntry.actor), joinedload(AuditEntry.user)),
            AuditEntry.id.desc(),
        ),
    )


def add_note(session: Session, user_id: uuid.UUID, *, text: str, actor: Actor) -> UserNote:
    """Add an admin's note about a user. Raises NotFound and InvalidInput."""
    user = users.by_id(session, user_id)
    if actor.user_id is None:
        raise ValueError("a note has an author")
    text = text_validation.one_line(text, field="text", at_least=3, at_most=1000)
    note = UserNote(user_id=user.id, author_id=actor.user_id, text=text)
    session.add(note)
    session.flush()
    resource = ("user", user.id)
    audit_log.record(session, AuditAction.USER_NOTED, actor, user_id=user.id, resource=resource)
    return note


def _of(kind: Any, user: User) -> Select[Any]:
    return select(kind).where(kind.user_id == user.id)
