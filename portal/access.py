"""Who is logged in, and what that opens: logins bound to the password, and guards for whole blueprints."""

import uuid

from flask import Flask, abort, current_app, redirect, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_user
from werkzeug.wrappers import Response

from models import clock
from models.users import User
from portal.extensions import db
from portal.redirects import path_of_request

# A login in use is sent a fresh cookie this many times in the life of one.
RENEWALS = 20


class Login(UserMixin):  # type: ignore[misc]  # Flask-Login ships no types
    """A user as Flask-Login sees one. Its id carries the password's version, so a new password ends every login."""

    def __init__(self, user: User) -> None:
        self.user = user

    @property
    def is_active(self) -> bool:
        return self.user.is_active

    def get_id(self) -> str:
        return f"{self.user.id}:{self.user.password_version}"


def init_app(app: Flask) -> None:
    """Make Flask-Login find users by `_load`."""
    manager = LoginManager()
    manager.user_loader(_load)
    # The login is bound to the password, not to an address or a browser version, which change with every train ride.
    manager.session_protection = None
    # Its context processor would look the user up for every template, error pages included.
    manager.init_app(app, add_context_processor=False)


def _load(identifier: str) -> Login | None:
    user_id, _, version = identifier.partition(":")
    try:
        user = db.session.get(User, uuid.UUID(user_id))
    except ValueError:
        return None
    if user is None or not user.is_active or str(user.password_version) != version:
        return None
    return Login(user)


def begin_login(user: User) -> None:
    """Log a user in with a fresh session, so that one planted before (session fixation) is worth nothing."""
    session.clear()
    session.permanent = True
    session["seen"] = clock.now().timestamp()
    login_user(Login(user))


def require_login() -> Response | None:
    """Guard a blueprint: a visitor goes to the login page and comes back."""
    if current_user.is_authenticated:
        _renew()
        return None
    back = path_of_request() if request.method == "GET" else None
    return redirect(url_for("accounts.login", next=back))


def _renew() -> None:
    """Let a login that is used last longer: its cookie counts from when it was sent last."""
    now = clock.now().timestamp()
    if now - session.get("seen", 0) > current_app.permanent_session_lifetime.total_seconds() / RENEWALS:
        session["seen"] = now


def require_admin() -> Response | None:
    """Guard the admin blueprint: a visitor goes to the login page, a user gets 403."""
    refused = require_login()
    if refused is None and not current_user.user.is_superuser:
        abort(403)
    return refused
