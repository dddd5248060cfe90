"""Admin search: find what an id, prefix, e-mail address or name refers to."""

import re
import uuid
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.audit import AuditEntry
from models.ledger import Account, AccountKind, Transfer
from models.payments import Payment
from models.proxy_sessions import ProxySession
from models.services import text_validation
from models.services.crypto import secrets
from models.users import User

Kind = Literal["user", "payment", "tokens", "request", "words"]
# The length of a whole secret; longer search terms are cut to it.
SECRET_LENGTH = 64
_REQUEST_ID = re.compile(r"[0-9A-Za-z-]{8,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Where a search leads: a user's or payment's id, a token prefix, a request id, or the search terms themselves."""

    kind: Kind
    name: str


def find(session: Session, text: str) -> SearchResult:
    """Find an e-mail address, a user name, a token or its prefix, or an id of anything.

    Of a whole secret only the prefix is used and returned.
    """
    text = text.strip()
    if not text_validation.is_printable(text):
        return SearchResult("words", "")
    try:
        found = _by_id(session, uuid.UUID(text))
    except ValueError:
        found = None
    return found or _by_name(session, text) or _by_prefix(session, text) or _by_request(session, text) or _words(text)


def _by_id(session: Session, wanted: uuid.UUID) -> SearchResult | None:
    if session.get(Payment, wanted) is not None:
        return SearchResult("payment", str(wanted))
    token = session.get(AccessToken, wanted)
    if token is not None:
        return SearchResult("tokens", token.prefix)
    if session.get(User, wanted) is not None:
        return SearchResult("user", str(wanted))
    used = session.get(ProxySession, wanted)
    if used is not None:
        return SearchResult("user", str(used.user_id))
    owner = session.scalars(
        select(Account.user_id)
        .join(Transfer, or_(Transfer.debit_account_id == Account.id, Transfer.credit_account_id == Account.id))
        .where(Transfer.id == wanted, Account.kind == AccountKind.WALLET)
        .limit(1)
    ).one_or_none()
    return SearchResult("user", str(owner)) if owner else None


def _by_name(session: Session, text: str) -> SearchResult | None:
    name = func.lower(text)
    query = select(User.id).where(or_(func.lower(User.email) == name, func.lower(User.username) == name))
    found = session.scalars(query.limit(1)).one_or_none()
    return SearchResult("user", str(found)) if found else None


def _by_prefix(session: Session, text: str) -> SearchResult | None:
    prefix = text.rstrip("…")[: secrets.PREFIX_LENGTH]
    if len(prefix) < secrets.PREFIX_LENGTH:
        return None
    found = session.scalars(select(AccessToken.id).where(AccessToken.prefix == prefix).limit(1)).one_or_none()
    return SearchResult("tokens", prefix) if found else None


def _by_request(session: Session, text: str) -> SearchResult | None:
    if not _REQUEST_ID.fullmatch(text):
        return None
    found = session.scalars(select(AuditEntry.id).where(AuditEntry.request_id == text).limit(1)).one_or_none()
    return SearchResult("request", text) if found else None


def _words(text: str) -> SearchResult:
    return SearchResult("words", text if len(text) < SECRET_LENGTH else text[: secrets.PREFIX_LENGTH])
