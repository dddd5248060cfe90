"""API authentication and scopes, by headers only: cookies are ignored, because browsers send them by themselves.

Every endpoint declares its scope by `needs` or `open_to_all`; without a declaration it is open to admins only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, current_app, g, request

from models.api_keys import ApiKey, KeyScope
from models.audit import Origin
from models.logins import Login, LoginKind
from models.services.accounts import api_keys, logins, two_factor
from models.services.actor import Actor
from models.services.errors import TooManyAttempts
from models.users import User
from portal.api import login_tokens
from portal.request import context, maintenance, rate_limits
from portal.request.error_pages import ApiError


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller, by a login or by an API key; exactly one of the two is set."""

    user: User
    login: Login | None = None
    key: ApiKey | None = None

    @property
    def scope(self) -> KeyScope:
        """The scope of the key; a login has every permission of its user."""
        return self.key.scope if self.key else KeyScope.ADMIN


def needs[View: Callable[..., Any]](scope: KeyScope, *, login_only: bool = False) -> Callable[[View], View]:
    """Declare the scope that an endpoint needs; goes below the route decorator."""

    def mark(view: View) -> View:
        view.__dict__.update(needs=scope, login_only=login_only)
        return view

    return mark


def open_to_all[View: Callable[..., Any]](view: View) -> View:
    """Declare that an endpoint needs no credentials; goes below the route decorator."""
    view.__dict__.update(needs=None)
    return view


def admit() -> Response | None:
    """Authenticate and authorize a request before its body is read. Raises ApiError and TooManyAttempts.

    During maintenance, requests that change something are answered here, except those of admins.
    """
    view = current_app.view_functions[request.endpoint or ""]
    needed: KeyScope | None = getattr(view, "needs", KeyScope.ADMIN)
    if needed is None:
        return maintenance.maintenance_response(lambda: None)
    caller = _caller()
    g.caller = caller
    context.set_request_user(caller.user.id)
    if not caller.user.is_superuser:
        g.allowance = rate_limits.take_api_call(caller.user.id)
        if g.allowance.is_over:
            raise TooManyAttempts(g.allowance.resets_in)
    if needed is KeyScope.ADMIN and not caller.user.is_superuser:
        raise ApiError(403, "admin_role_required")
    if needed is KeyScope.ADMIN and two_factor.is_missing(context.session(), caller.user, context.frozen_settings()):
        raise ApiError(403, "admin_two_factor_required")
    if not caller.scope.includes(needed):
        raise ApiError(403, "api_key_scope_too_narrow", scope=caller.scope)
    if caller.key and getattr(view, "login_only", False):
        raise ApiError(403, "login_required")
    _note_use(caller)
    return maintenance.maintenance_response(lambda: caller.user)


def caller() -> Caller:
    """Return the caller; only after `admit`."""
    return cast(Caller, g.caller)


def user() -> User:
    """Return the calling user."""
    return caller().user


def actor() -> Actor:
    """Return the actor of this request for the audit log; the portal's cookie is ignored."""
    who: Caller | None = g.get("caller")
    return Actor(
        who.user.id if who else None, request.remote_addr, request.user_agent.string, g.get("request_id"), Origin.API
    )


def show_allowance(response: Response) -> Response:
    """Set the rate-limit headers."""
    allowance: rate_limits.Allowance | None = g.get("allowance")
    if allowance is not None:
        response.headers["RateLimit-Limit"] = str(allowance.limit)
        response.headers["RateLimit-Remaining"] = str(allowance.remaining)
        response.headers["RateLimit-Reset"] = str(allowance.seconds)
    response.headers["Cache-Control"] = "no-store"
    return response


def _caller() -> Caller:
    kind, _blank, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if kind.lower() == "bearer" else ""
    key = request.headers.get("X-API-Key", "").strip()
    if not bearer and not key:
        raise ApiError(403, "credentials_missing")
    if not bearer or bearer.startswith(api_keys.PREFIX):
        return _by_key(bearer or key)
    return _by_login(bearer)


def _by_key(secret: str) -> Caller:
    found = api_keys.find_active(context.session(), secret, context.settings())
    if found is None:
        raise ApiError(401, "credentials_invalid")
    if not found.user.is_active:
        raise ApiError(403, "user_inactive")
    return Caller(found.user, key=found)


def _by_login(token: str) -> Caller:
    named = login_tokens.named_by(context.settings().portal, token)
    if named is None:
        raise ApiError(401, "credentials_invalid")
    login = logins.find_active(context.session(), named.login_id, kind=LoginKind.API)
    if login is None:
        owner = context.session().get(User, named.user_id)
        if owner is not None and not owner.is_active:
            raise ApiError(403, "user_inactive")
        raise ApiError(401, "credentials_invalid")
    return Caller(login.user, login=login)


def _note_use(caller: Caller) -> None:
    """Update the last use of a login or key, at most once per interval, in its own transaction."""
    if caller.login and logins.is_stale(caller.login):
        with context.transaction() as session:
            logins.touch(session, caller.login, actor=actor())
    if caller.key and api_keys.is_stale(caller.key):
        with context.transaction() as session:
            api_keys.touch(session, caller.key)
