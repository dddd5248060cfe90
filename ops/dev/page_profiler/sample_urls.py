"""Users and URL arguments for the page profiler."""

import uuid
from datetime import timedelta

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from models import clock
from models.config.settings import Settings
from models.email_links import EmailLink, LinkPurpose
from models.logins import LoginKind
from models.services.accounts import email_links, logins
from models.services.actor import PLATFORM
from models.services.notifications import preferences as notification_preferences
from models.users import User
from ops.console import Failure
from ops.dev.page_profiler.list_queries import VARIANTS
from portal.api import login_tokens

LOGIN_LASTS = timedelta(hours=2)
# The user, token and endpoint with most rows.
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
    "endpoint_id": """SELECT e.id FROM webhook_endpoints e LEFT JOIN webhook_deliveries d ON d.endpoint_id = e.id
        WHERE e.user_id = :buyer GROUP BY e.id ORDER BY count(d.id) DESC LIMIT 1""",
    "key_id": "SELECT id FROM api_keys WHERE user_id = :buyer LIMIT 1",
    "kind": "SELECT 'welcome'",
    "lang": "SELECT 'en'",
    "key": "SELECT 'limits.auth_per_hour'",
    "status": "SELECT '404'",
    "today": "SELECT to_char(now(), 'YYYY-MM-DD')",
    "year_ago": "SELECT to_char(now() - interval '365 days', 'YYYY-MM-DD')",
}


def ids(connection: Connection) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the ids of the user with most tokens and of an admin. Raises Failure when there is none."""
    connection.execute(text("SET statement_timeout = 0"))
    buyer, admin = connection.scalar(text(_BUYER)), connection.scalar(text(_ADMIN))
    if buyer is None or admin is None:
        raise Failure("There is no buyer or no admin; ./zenzefi seed creates both.")
    return buyer, admin


def values(connection: Connection, buyer: uuid.UUID) -> dict[str, str]:
    """Return values of URL arguments by name."""
    found = {name: connection.scalar(text(query), {"buyer": buyer}) for name, query in _VALUES.items()}
    return {name: str(value) for name, value in found.items() if value is not None}


def build_url(rule: Rule, known: dict[str, str]) -> str | None:
    """Return the URL of a rule; None when a value is missing."""
    if not rule.arguments <= known.keys():
        return None
    _, address = rule.build({name: known[name] for name in rule.arguments}, append_unknown=False) or ("", None)
    return address


def query_strings(rule: Rule, known: dict[str, str]) -> list[str]:
    """Return the query strings for a rule: none, and its variants."""
    return ["", *(variant.format_map(known) for variant in VARIANTS.get(rule.rule, ()))]


def signed_values(session: Session, user_id: uuid.UUID, settings: Settings) -> dict[str, str]:
    """Return the secret of a new e-mail link, which is not sent, and a signed unsubscribe value."""
    user = session.get_one(User, user_id)
    email_links.request_link(
        session, LinkPurpose.CHANGE_EMAIL, user.email, settings=settings, actor=PLATFORM, user=user
    )
    newest = select(EmailLink).where(EmailLink.user_id == user_id).order_by(EmailLink.created_at.desc()).limit(1)
    link = session.scalars(newest).one()
    link.sent_at = clock.now()
    signed = notification_preferences.unsubscribe_path(settings.portal, user_id, "bonus") or ""
    return {"secret": email_links.secret_of(settings, link.id), "signed": signed.rpartition("/")[2]}


def open_logins(session: Session, user_id: uuid.UUID, settings: Settings) -> tuple[str, str]:
    """Start a login for the pages and one for the API; returns the id for the cookie and the bearer token."""
    user = session.get_one(User, user_id)
    page, program = (
        logins.begin(session, user, kind=kind, lifetime=LOGIN_LASTS, actor=PLATFORM)
        for kind in (LoginKind.PAGE, LoginKind.API)
    )
    return str(page.id), login_tokens.issue(settings.portal, user, program)


def seen_now() -> float:
    """Return the timestamp of a fresh cookie."""
    return clock.now().timestamp()
