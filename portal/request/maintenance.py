"""Maintenance mode: read-only for buyers; admins, payment callbacks and health checks keep working."""

from collections.abc import Callable

from flask import Flask, Response, request

from models.users import User
from portal import i18n
from portal.i18n import gettext as _
from portal.request import context, error_pages

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# Admins must be able to sign in and to stop impersonating a user, so that they can end the maintenance.
EXEMPT_PATHS = (
    "/login",
    "/logout",
    "/view-as/end",
    "/preferences",
    "/announcements/",
    "/api/v1/auth/login",
    "/mock-checkout/",
)


def init_app(app: Flask) -> None:
    """Reject changes during maintenance, and make its message available to templates."""
    app.before_request(_refuse_changes)
    app.jinja_env.globals.update(maintenance=current_message)


def current_message() -> str | None:
    """Return the message of the current maintenance, or None."""
    rules = context.settings().maintenance
    if not rules.on:
        return None
    own_words = rules.words_ru if i18n.chosen_language() == "ru" else rules.words_en
    return own_words or _(
        "The service is under maintenance. Purchases and changes are unavailable until it is finished."
    )


def _refuse_changes() -> Response | None:
    """Reject changes on pages; the JSON API checks by itself after authentication, which ignores cookies."""
    return None if i18n.is_api_path(request.path) else maintenance_response(context.maybe_user)


def maintenance_response(who: Callable[[], User | None]) -> Response | None:
    """Return the response that replaces a change, or None; `who` is called only during maintenance."""
    if request.method in SAFE_METHODS or request.path.startswith(EXEMPT_PATHS):
        return None
    said = current_message()
    somebody = who() if said else None
    if said is None or (somebody is not None and somebody.is_superuser):
        return None
    response = error_pages.page(503, said, title=_("Closed for maintenance"))
    response.headers["Retry-After"] = str(context.settings().maintenance.retry_after_seconds)
    return response
