"""Read-only tools of the MCP server. An assistant sees each tool's name, parameters and docstring."""

import uuid
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from models.audit import AuditAction
from models.config.settings import Settings
from models.database import Sessions
from models.payments import Payment
from models.proxy_sessions import ProxySession
from models.services import messages
from models.services.accounts import users
from models.services.audit import log as audit_log
from models.services.errors import InvalidInput
from models.services.gateway import sessions
from models.services.ledger import transfers
from models.services.ledger import verification as ledger_verification
from models.services.monitoring import health_report
from models.services.pagination import Page
from models.services.payments import payment_queries
from models.services.reports import overview
from models.services.tokens import outage_credit
from models.services.tokens import queries as token_queries
from models.users import User
from portal.api.schemas import admin as admin_schemas
from portal.api.schemas import tokens as token_schemas
from portal.api.schemas import wallet as currency_schemas
from portal.template_filters import iso

LIMIT = 20


class ReadTools:
    """Tools that change nothing and reveal no secret."""

    def __init__(self, sessions_: Sessions, settings: Settings) -> None:
        self._sessions = sessions_
        self._settings = settings

    def tools(self) -> list[Callable[..., dict[str, Any]]]:
        """Return the read-only tools."""
        return [
            self.find_users,
            self.show_user,
            self.list_transactions,
            self.list_tokens,
            self.list_sessions,
            self.list_payments,
            self.show_payment,
            self.list_audit_log,
            self.list_outages,
            self.show_health,
            self.show_shop,
            self.verify_ledger,
        ]

    def find_users(self, words: str = "", limit: int = LIMIT, offset: int = 0) -> dict[str, Any]:
        """Find users whose e-mail address or name contains the words, newest first, with their balances in ZNC."""
        with self._sessions() as session:
            page = users.search(session, words=words, limit=limit, offset=offset)
            balances = transfers.balances_of(session, [user.id for user in page.items])
            return _page(page, lambda user: _plain(admin_schemas.write_user(user, balances[user.id])))

    def show_user(self, user: str) -> dict[str, Any]:
        """Show one user, by id or e-mail address: account, balance, debt, tokens, and the newest audit entries."""
        with self._sessions() as session:
            found = self._user(session, user)
            wallet = transfers.wallet_of(session, found.id)
            figures = overview.user_overview(session, found.id)
            return {
                **_plain(admin_schemas.write_user(found, wallet.balance)),
                "debt": f"{transfers.debt_of(session, found.id):.2f}",
                "usable_tokens": figures.usable_tokens,
                "newest_audit_entries": _page(audit_log.entries(session, user_id=found.id, limit=10, offset=0), _entry)[
                    "items"
                ],
            }

    def list_transactions(self, user: str, limit: int = LIMIT, offset: int = 0) -> dict[str, Any]:
        """List the transactions of a user's wallet (id or e-mail address), newest first."""
        with self._sessions() as session:
            wallet = transfers.wallet_of(session, self._user(session, user).id)
            page = transfers.transactions(session, wallet, limit=limit, offset=offset)
            return _page(page, lambda entry: _plain(currency_schemas.write(entry, wallet)))

    def list_tokens(
        self, user: str = "", prefix: str = "", active_only: bool = False, limit: int = LIMIT, offset: int = 0
    ) -> dict[str, Any]:
        """List access tokens, newest first: of one user (id or e-mail address), or by the first characters of one."""
        with self._sessions() as session:
            user_id = self._user(session, user).id if user else None
            found = {"user_id": user_id, "prefix": prefix, "active_only": active_only}
            page = token_queries.search(session, limit=limit, offset=offset, **found)  # type: ignore[arg-type]  # mixed facts
            return _page(page, lambda token: {**_plain(token_schemas.write(token)), "user_id": str(token.user_id)})

    def list_sessions(
        self, user: str = "", token_id: uuid.UUID | None = None, open_only: bool = False, limit: int = LIMIT
    ) -> dict[str, Any]:
        """List proxy sessions, newest first: of a user (id or e-mail address), of a token, or only those still open."""
        with self._sessions() as session:
            user_id = self._user(session, user).id if user else None
            page = sessions.list_sessions(
                session, user_id=user_id, token_id=token_id, open_only=open_only, limit=limit, offset=0
            )
            return _page(page, _session)

    def list_payments(self, user: str = "", limit: int = LIMIT, offset: int = 0) -> dict[str, Any]:
        """List payments, newest first, of all or of one user (id or e-mail address)."""
        with self._sessions() as session:
            user_id = self._user(session, user).id if user else None
            return _page(payment_queries.list_payments(session, user_id=user_id, limit=limit, offset=offset), _payment)

    def show_payment(self, payment_id: uuid.UUID) -> dict[str, Any]:
        """Show one payment and all events that its provider has reported."""
        with self._sessions() as session:
            payment = payment_queries.by_id(session, payment_id)
            events = payment_queries.list_events(session, payment_id)
            return {
                **_payment(payment),
                "events": [
                    {
                        "event_id": event.event_id,
                        "outcome": event.outcome,
                        "amount_rub": f"{event.amount_rub:.2f}",
                        "received_at": iso(event.received_at),
                        "processed_at": event.processed_at and iso(event.processed_at),
                        "result": event.result,
                        "result_text": messages.payment_result_text(event),
                    }
                    for event in events
                ],
            }

    def list_audit_log(
        self, user: str = "", action: str = "", resource_type: str = "", limit: int = LIMIT, offset: int = 0
    ) -> dict[str, Any]:
        """List who did what to whom, newest first; `action` is a word such as token.purchased or user.login_failed."""
        known = next((each for each in AuditAction if each == action), None)
        if action and known is None:
            raise InvalidInput("action", "audit_action_unknown", actions=", ".join(AuditAction))
        with self._sessions() as session:
            user_id = self._user(session, user).id if user else None
            facts = {"user_id": user_id, "action": known, "resource_type": resource_type or None}
            return _page(audit_log.entries(session, limit=limit, offset=offset, **facts), _entry)  # type: ignore[arg-type]

    def list_outages(self, limit: int = LIMIT, offset: int = 0) -> dict[str, Any]:
        """List the upstream's outages, newest first; an empty end means that it lasts."""
        with self._sessions() as session:
            page = outage_credit.list_credits(session, limit=limit, offset=offset)
            return _page(
                page,
                lambda row: {
                    "opened_at": iso(row.opened_at),
                    "closed_at": row.closed_at and iso(row.closed_at),
                },
            )

    def show_health(self) -> dict[str, Any]:
        """Show the state of database, Redis and upstream; they are checked every 50 seconds."""
        try:
            with Redis.from_url(self._settings.redis.url, socket_timeout=2, socket_connect_timeout=2) as redis:
                report = health_report.from_json(redis.get(health_report.REPORT_KEY))
        except RedisError:
            return {"status": "unhealthy", "note": "Redis does not answer"}
        if report is None:
            return {"status": "unknown", "note": "no check in two minutes; does the scheduler run?"}
        checks = {
            part: {"status": check.word, "seconds": check.seconds, "checked_at": check.asked_at}
            for part, check in report.items()
        }
        return {"status": health_report.status_of(report), "checks": checks}

    def show_shop(self) -> dict[str, Any]:
        """Show totals: users, tokens, sessions, payments, and sales in ZNC."""
        with self._sessions() as session:
            now, totals = overview.shop_overview(session), overview.totals(session)
            return {
                "users": now.users,
                "active_users": totals.active_users,
                "running_tokens": now.running_tokens,
                "open_sessions": now.open_sessions,
                "pending_payments": now.pending_payments,
                "sold_in_24_hours": f"{now.sold:.2f}",
                "revenue": f"{totals.revenue:.2f}",
                "purchases": totals.purchases,
            }

    def verify_ledger(self) -> dict[str, Any]:
        """Verify the ledger; returns every failed rule with its rows. Reads all transfers: may take a minute."""
        with self._sessions.begin() as session:
            report = ledger_verification.verify(session)
        balances = {kind: f"{balance:.2f}" for kind, balance in report.balances.items()}
        return {
            "is_sound": report.is_sound,
            "transfers": report.transfers,
            "balances": balances,
            "faults": report.faults,
        }

    def _user(self, session: Session, named: str) -> User:
        """Return a user by id or address. Raises NotFound, InvalidInput."""
        if "@" in named:
            found = users.by_email(session, named)
            if found is not None:
                return found
        try:
            return users.by_id(session, uuid.UUID(named))
        except ValueError:
            raise InvalidInput("user", "user_reference_malformed") from None


def _page[Row](page: Page[Row], write: Callable[[Row], dict[str, Any]]) -> dict[str, Any]:
    return {"items": [write(row) for row in page.items], "total": page.total, "offset": page.offset}


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _entry(row: Any) -> dict[str, Any]:
    return _plain(admin_schemas.write_entry(row))


def _session(row: ProxySession) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "user_id": str(row.user_id),
        "token_id": str(row.token_id),
        "device_id": row.device_id,
        "ip_address": row.ip_address,
        "user_agent": row.user_agent,
        "started_at": iso(row.started_at),
        "last_activity": iso(row.last_activity),
        "ended_at": row.ended_at and iso(row.ended_at),
        "requests": row.request_count,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
    }


def _payment(row: Payment) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "user_id": str(row.user_id),
        "provider": row.provider,
        "status": row.status,
        "amount_znc": f"{row.amount_znc:.2f}",
        "amount_rub": f"{row.amount_rub:.2f}",
        "created_at": iso(row.created_at),
        "settled_at": row.settled_at and iso(row.settled_at),
    }
