"""Whose pages are walked, and what stands in their addresses."""

import uuid
from datetime import timedelta

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from models import clock
from models.config import Settings
from models.logins import LoginKind
from models.services import logins
from models.services.context import PLATFORM
from models.users import User
from ops.console import Failure
from portal.api import jwts

LOGIN_LASTS = timedelta(hours=2)
# The heaviest of its kind: what is quick for it is quick for all.
_BUYER = "SELECT user_id FROM access_tokens GROUP BY user_id ORDER BY count(*) DESC LIMIT 1"
_ADMIN = "SELECT id FROM users WHERE is_superuser AND is_active ORDER BY created_at LIMIT 1"
_VALUES = {
    "token_id": """SELECT token_id FROM proxy_sessions WHERE user_id = :buyer
        GROUP BY token_id ORDER BY count(*) DESC, token_id LIMIT 1""",
    "session_id": "SELECT id FROM proxy_sessions WHERE user_id = :buyer LIMIT 1",
    "payment_id": "SELECT id FROM payments WHERE user_id = :buyer ORDER BY created_at DESC LIMIT 1",
    "transfer_id": """SELECT t.id FROM transfers t JOIN accounts a ON a.id = t.debit_account_id
        WHERE a.user_id = :buyer ORDER BY t.created_at DESC LIMIT 1""",
    "login_id": "SELECT id FROM logins WHERE user_id = :buyer LIMIT 1",
    "user_id": "SELECT CAST(:buyer AS uuid)",
    "event_id": "SELECT id FROM payment_events LIMIT 1",
    "bundle_id": "SELECT id FROM bundles LIMIT 1",
    "coupon_id": "SELECT id FROM coupons LIMIT 1",
    "gift_id": "SELECT id FROM gift_codes LIMIT 1",
    "month": "SELECT to_char(now(), 'YYYY-MM')",
    "reader": "SELECT 'swagger'",
    "endpoint_id": "SELECT id FROM webhook_endpoints WHERE user_id = :buyer LIMIT 1",
    "kind": "SELECT 'welcome'",
    "lang": "SELECT 'en'",
    "key": "SELECT 'limits.auth_per_hour'",
}


def ids(connection: Connection) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the heaviest buyer and an admin. Raises Failure where there are none."""
    connection.execute(text("SET statement_timeout = 0"))
    buyer, admin = connection.scalar(text(_BUYER)), connection.scalar(text(_ADMIN))
    if buyer is None or admin is None:
        raise Failure("There is no buyer, or no admin; ./zenzefi seed makes both.")
    return buyer, admin


def values(connection: Connection, buyer: uuid.UUID) -> dict[str, str]:
    """Return what can stand in an address, by the name of the argument."""
    found = {name: connection.scalar(text(query), {"buyer": buyer}) for name, query in _VALUES.items()}
    return {name: str(value) for name, value in found.items() if value is not None}


def filled(rule: Rule, known: dict[str, str]) -> str | None:
    """Write a rule's address; None when a value is missing."""
    if not rule.arguments <= known.keys():
        return None
    _, address = rule.build({name: known[name] for name in rule.arguments}, append_unknown=False) or ("", None)
    return address


def open_logins(session: Session, user_id: uuid.UUID, settings: Settings) -> tuple[str, str]:
    """Begin a login for the pages and one for the API; returns the id for the cookie, and the API's token."""
    user = session.get_one(User, user_id)
    page, program = (
        logins.begin(session, user, kind=kind, lifetime=LOGIN_LASTS, actor=PLATFORM)
        for kind in (LoginKind.PAGE, LoginKind.API)
    )
    return str(page.id), jwts.issue(settings.portal, user, program)


def seen_now() -> float:
    """Return the time that a fresh cookie carries."""
    return clock.now().timestamp()
