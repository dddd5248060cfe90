"""Authentication of page requests: login cookies, the pending second factor, and guards for blueprints."""

import re
import uuid
from datetime import timedelta
from secrets import token_urlsafe

from flask import Flask, abort, after_this_request, current_app, redirect, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_user
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from models import clock
from models.logins import Login, LoginKind
from models.services.accounts import impersonation, known_devices, logins, time_zones, two_factor
from models.users import User
from portal.presentation.user_agents import device
from portal.request import context
from portal.request.safe_redirects import path_of_request

_DEVICE = re.compile(r"[A-Za-z0-9_-]{32}")
# How long a correct password is accepted without the code of the second factor.
SECOND_STEP_SECONDS = 300


class Visitor(UserMixin):  # type: ignore[misc]  # Flask-Login ships no types
    """A signed-in visitor for Flask-Login. The cookie holds the login's id and is signed.

    `user` is the account that is shown: the visitor's own, or the one that an admin impersonates.
    """

    def __init__(self, login: Login) -> None:
        self.login = login
        self.user = impersonation.impersonated_user(login) or login.user

    def get_id(self) -> str:
        return str(self.login.id)


def init_app(app: Flask) -> None:
    """Set up Flask-Login."""
    manager = LoginManager()
    manager.user_loader(_load)
    # A login is bound to its row, not to an IP address or a browser version, which change often.
    manager.session_protection = None
    # Its context processor would look the user up for every template, error pages included.
    manager.init_app(app, add_context_processor=False)


def forbid_while_impersonating() -> None:
    """Return 403 for pages that only the user may see, such as the secret of their second factor."""
    if context.impersonation() is not None:
        abort(403)


def _load(identifier: str) -> Visitor | None:
    try:
        login_id = uuid.UUID(identifier)
    except ValueError:
        return None
    login = logins.find_active(context.session(), login_id, kind=LoginKind.PAGE)
    if login is None:
        return None
    context.set_request_user(login.user_id)
    return Visitor(login)


def open_login(own: Session, user: User) -> Login:
    """Create a login in the caller's transaction; `sign_in` sends its cookie after the commit."""
    login = logins.begin(own, user, kind=LoginKind.PAGE, lifetime=_lifetime(), actor=context.actor())
    known_devices.record_login(own, user, _ensure_device_cookie(), name=device(login), actor=context.actor())
    time_zones.set_if_empty(own, user, request.form.get("time_zone", ""))
    return login


def _ensure_device_cookie() -> str:
    """Return the browser's device cookie, which outlives logins and is renewed with each."""
    shown = device_cookie() or token_urlsafe(24)

    @after_this_request
    def send(response: Response) -> Response:
        lifetime = known_devices.REMEMBERED_FOR
        secure = context.settings().platform.is_production
        response.set_cookie(
            _device_cookie_name(), shown, max_age=lifetime, secure=secure, httponly=True, samesite="Lax"
        )
        return response

    return shown


def device_cookie() -> str:
    """Return the device cookie that the browser sent; an empty string when it is missing or malformed."""
    given = request.cookies.get(_device_cookie_name(), "")
    return given if _DEVICE.fullmatch(given) else ""


def _device_cookie_name() -> str:
    return "__Host-device" if context.settings().platform.is_production else "device"


def sign_in(login: Login) -> None:
    """Start a fresh session for a login, so that a planted one (session fixation) is worthless."""
    session.clear()
    session.permanent = True
    session["seen"] = clock.now().timestamp()
    login_user(Visitor(login))


def begin_second_step(user: User) -> None:
    """Start the second login step: remember the user for five minutes in a fresh session."""
    session.clear()
    session["half"] = [str(user.id), user.password_version, clock.now().timestamp()]


def pending_second_step() -> User | None:
    """Return the user whose second factor is pending in this browser, if the password is still valid."""
    user_id, version, since = session.get("half") or ("", 0, 0.0)
    if not user_id or clock.now().timestamp() - since > SECOND_STEP_SECONDS:
        return None
    user = context.session().get(User, uuid.UUID(user_id))
    return user if user is not None and user.is_active and user.password_version == version else None


def require_login() -> Response | None:
    """Guard a blueprint: redirect visitors to the login page and back."""
    if current_user.is_authenticated:
        _extend_login()
        return None
    back = path_of_request() if request.method == "GET" else None
    return redirect(url_for("accounts.login", next=back))


def _extend_login() -> None:
    """Extend a login that is in use, and its cookie."""
    if logins.is_stale(context.login()):
        with context.transaction() as own:
            logins.touch(own, context.login(), lifetime=_lifetime(), actor=context.actor())
        session["seen"] = clock.now().timestamp()


def _lifetime() -> timedelta:
    lifetime: timedelta = current_app.permanent_session_lifetime
    return lifetime


def require_admin() -> Response | None:
    """Guard an admin blueprint: redirect visitors to the login page, return 403 for users."""
    refused = require_login()
    if refused is None and not current_user.user.is_superuser:
        abort(403)
    if refused is None and two_factor.is_missing(context.session(), context.user(), context.frozen_settings()):
        return redirect(url_for("two_factor.overview"))
    return refused


def is_from_ops() -> bool:
    """Return whether the request comes from an ops network; never when it passed an untrusted proxy."""
    settings = context.settings()
    if "X-Forwarded-For" in request.headers and not settings.portal.trusted_proxies:
        return False
    return settings.proxy.is_ops(request.remote_addr or "")
