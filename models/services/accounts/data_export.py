"""Export of a user's own data as one JSON document, streamed so that its size needs no memory. Contains no secrets."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models.access_tokens import AccessToken
from models.api_keys import ApiKey
from models.audit import AuditEntry
from models.ledger import Transfer
from models.logins import Login
from models.payments import Payment
from models.proxy_sessions import ProxySession
from models.services import messages
from models.services.ledger import transfers, wallet_history
from models.users import User
from models.webhooks import WebhookEndpoint

AT_ONCE = 500

_PROFILE = (
    "id",
    "email",
    "username",
    "full_name",
    "language",
    "time_zone",
    "referral_code",
    "created_at",
    "updated_at",
)
_LOGIN = ("id", "kind", "created_at", "last_seen_at", "expires_at", "ended_at", "ip_address", "user_agent")
_TOKEN = (
    *("id", "name", "prefix", "scope", "duration_hours", "price_paid", "created_at", "activated_at", "expires_at"),
    *("paused_at", "revoked_at", "refund_amount", "auto_renew"),
)
_SESSION = (
    *("id", "token_id", "device_id", "ip_address", "user_agent", "started_at", "last_activity", "ended_at"),
    *("request_count", "bytes_in", "bytes_out"),
)
_PAYMENT = ("id", "provider", "amount_znc", "amount_rub", "status", "created_at", "settled_at", "returned_rub")
_KEY = ("id", "name", "scope", "prefix", "created_at", "last_used_at", "expires_at", "ended_at")
_WEBHOOK = ("id", "url", "topics", "enabled", "created_at")
_AUDIT = ("created_at", "action", "resource_type", "resource_id", "ip_address", "user_agent", "details")


def build_document(session: Session, user: User) -> Iterator[str]:
    """Yield the document's text. Each list is read with a cursor, oldest first."""
    wallet = transfers.wallet_of(session, user.id)

    def transfer(row: Transfer) -> dict[str, Any]:
        facts = {"id": row.id, "kind": row.kind, "amount": transfers.signed_amount(row, wallet)}
        return {**facts, "description": messages.transfer_text(row), "created_at": row.created_at}

    def rows(query: Select[Any], names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        for row in session.scalars(query.execution_options(yield_per=AT_ONCE)):
            yield _facts(row, names)

    lists: dict[str, Iterator[dict[str, Any]]] = {
        "logins": rows(_own(Login, user, Login.created_at), _LOGIN),
        "api_keys": rows(_own(ApiKey, user, ApiKey.created_at), _KEY),
        "webhooks": rows(_own(WebhookEndpoint, user, WebhookEndpoint.created_at), _WEBHOOK),
        "tokens": rows(_own(AccessToken, user, AccessToken.created_at), _TOKEN),
        "sessions": rows(_own(ProxySession, user, ProxySession.started_at), _SESSION),
        "payments": rows(_own(Payment, user, Payment.created_at), _PAYMENT),
        "transactions": (transfer(row) for row in wallet_history.all_entries(session, wallet)),
        "audit": rows(select(AuditEntry).where(AuditEntry.actor_id == user.id).order_by(AuditEntry.id), _AUDIT),
    }
    profile = {**_facts(user, _PROFILE), "balance": wallet.balance}
    yield '{"profile": ' + _text(profile)
    for name, items in lists.items():
        yield f',\n"{name}": ['
        separator = "\n"
        for item in items:
            yield separator + _text(item)
            separator = ",\n"
        yield "]"
    yield "}\n"


def _own(table: type[Any], user: User, order: Any) -> Select[Any]:
    return select(table).where(table.user_id == user.id).order_by(order)


def _facts(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Enum():
            return value.value
        case uuid.UUID() | Decimal() | date():
            return str(value)
        case _:
            raise TypeError(type(value).__name__)
