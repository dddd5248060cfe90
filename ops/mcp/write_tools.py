"""Tools of the MCP server that change data; each change is audited as the admin on whose behalf it is made."""

import uuid
from collections.abc import Callable
from typing import Any

from models.audit import Origin
from models.config.settings import Settings
from models.database import Sessions
from models.proxy_sessions import ProxySession
from models.services.accounts import roles, users
from models.services.actor import Actor
from models.services.errors import NotFound
from models.services.gateway import sessions
from models.services.ledger import adjustments
from models.services.ledger.money import parse_amount
from models.services.payments import settlement
from models.services.tokens import revocation
from models.users import User
from ops.console import Failure
from ops.mcp.read_tools import ReadTools

AGENT = "MCP server"


class WriteTools(ReadTools):
    """The read-only tools, and those that change data."""

    def __init__(self, sessions_: Sessions, settings: Settings, *, admin: str) -> None:
        super().__init__(sessions_, settings)
        self._actor = Actor(_admin(sessions_, admin).id, None, AGENT, origin=Origin.COMMAND)

    def changes(self) -> list[Callable[..., dict[str, Any]]]:
        """Return the tools that change data."""
        return [
            self.disable_user,
            self.enable_user,
            self.adjust_balance,
            self.revoke_token,
            self.release_session,
            self.ask_provider,
        ]

    def disable_user(self, user: str) -> dict[str, Any]:
        """Disable a user (id or e-mail address): logins and tokens end within a second."""
        return self._set_active(user, active=False)

    def enable_user(self, user: str) -> dict[str, Any]:
        """Enable a disabled user again (id or e-mail address)."""
        return self._set_active(user, active=True)

    def adjust_balance(self, user: str, amount: str, reason: str, key: uuid.UUID) -> dict[str, Any]:
        """Add ZNC to a user's wallet, or take some with a minus sign, such as 5.00 or -5.00.

        Choose a fresh UUID as `key`: a repeated call with it books nothing twice. The user sees the reason.
        """
        with self._sessions.begin() as session:
            found = self._user(session, user)
            change = parse_amount(amount, signed=True)
            balance = adjustments.adjust(session, found, amount=change, reason=reason, actor=self._actor, key=key)
        return {"new_balance": f"{balance:.2f}"}

    def revoke_token(self, token_id: uuid.UUID, reason: str) -> dict[str, Any]:
        """Revoke any access token without a refund; its owner is notified of the reason by mail."""
        with self._sessions.begin() as session:
            revocation.force_revoke(session, token_id, reason=reason, actor=self._actor)
        return {"revoked": True}

    def release_session(self, session_id: uuid.UUID) -> dict[str, Any]:
        """End an open proxy session, so that another device may use its token."""
        with self._sessions.begin() as session:
            held = session.get(ProxySession, session_id)
            if held is None:
                raise NotFound("session")
            owner = session.get_one(User, held.user_id)
            sessions.release(session, owner, session_id, self._actor)
        return {"released": True}

    def ask_provider(self, payment_id: uuid.UUID) -> dict[str, Any]:
        """Ask a payment's provider for its status, and settle it accordingly."""
        with self._sessions.begin() as session:
            return {"result": settlement.query_provider(session, payment_id, self._settings) or "nothing new"}

    def _set_active(self, user: str, *, active: bool) -> dict[str, Any]:
        with self._sessions.begin() as session:
            found = self._user(session, user)
            roles.set_active(session, found.id, active=active, actor=self._actor)
        return {"is_active": active}


def _admin(sessions_: Sessions, email: str) -> User:
    """Return the admin on whose behalf changes are made. Raises Failure for anyone else."""
    with sessions_() as session:
        found = users.by_email(session, email)
    if found is None or not found.is_active or not found.is_superuser:
        raise Failure(f"{email} is not an active admin; name one with --as.")
    return found
