"""Maintenance mode: buyers may look and change nothing; admins, providers' callbacks and health checks go on."""

from collections.abc import Callable

from flask import Flask, Response, request

from models.users import User
from portal import i18n
from portal.i18n import gettext as _
from portal.request import context, error_pages

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# Who wants to end the maintenance must be able to log in, and to stop looking at the portal as somebody else.
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
    """Refuse what changes something, and let templates say why."""
    app.before_request(_refuse_changes)
    app.jinja_env.globals.update(maintenance=current_message)


def current_message() -> str | None:
    """Return what is to be said about a maintenance that is under way, if one is."""
    rules = context.settings().maintenance
    if not rules.on:
        return None
    own_words = rules.words_ru if i18n.chosen_language() == "ru" else rules.words_en
    return own_words or _(
        "The service is under maintenance. Purchases and changes are unavailable until it is finished."
    )


def _refuse_changes() -> Response | None:
    """The JSON API asks by itself once it knows who calls: a cookie has no say there."""
    return None if i18n.is_api_path(request.path) else maintenance_response(context.maybe_user)


def maintenance_response(who: Callable[[], User | None]) -> Response | None:
    """Return what to answer instead of a change; `who` is asked for the user only when it matters."""
    if request.method in SAFE_METHODS or request.path.startswith(EXEMPT_PATHS):
        return None
    said = current_message()
    somebody = who() if said else None
    if said is None or (somebody is not None and somebody.is_superuser):
        return None
    response = error_pages.page(503, said, title=_("Closed for maintenance"))
    response.headers["Retry-After"] = str(context.settings().maintenance.retry_after_seconds)
    return response
