"""Announcement banners above each page; a dismissed one is remembered in a cookie."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, Flask, current_app, g, redirect, request, url_for
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from models.announcements import Announcement
from models.services.notifications import announcements
from portal import i18n
from portal.request import context
from portal.request.safe_redirects import local_path

blueprint = Blueprint("announcements", __name__, url_prefix="/announcements")

COOKIE = "seen"
# Dismissed announcements kept in the cookie; beyond that the oldest is shown again.
MAX_DISMISSED = 20
COOKIE_MAX_AGE_SECONDS = 90 * 24 * 3600
# Seconds until a process reads the announcements from the database again.
CACHE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class BannerMessage:
    """An announcement as shown; plain values, because it outlives the database session."""

    id: uuid.UUID
    level: str
    words: dict[str, str]


class AnnouncementCache:
    """The current announcements, cached in one process."""

    def __init__(self) -> None:
        self._known: Sequence[BannerMessage] = ()
        self._good_until = float("-inf")

    def get(self) -> Sequence[BannerMessage]:
        """Return the current announcements, or the last known ones while the database is down."""
        if time.monotonic() >= self._good_until:
            self._good_until = time.monotonic() + CACHE_SECONDS
            try:
                self._known = [_to_message(each) for each in announcements.current_announcements(context.session())]
            except SQLAlchemyError:
                context.session().rollback()
        return self._known

    def forget(self) -> None:
        """Read them again for the next page."""
        self._good_until = float("-inf")


def init_app(app: Flask) -> None:
    """Register the announcements with the templates."""
    app.extensions["zenzefi-board"] = AnnouncementCache()
    app.jinja_env.globals.update(announced=current_announcements)


def announcement_cache() -> AnnouncementCache:
    """Return this process's cache."""
    found: AnnouncementCache = current_app.extensions["zenzefi-board"]
    return found


def current_announcements() -> list[tuple[uuid.UUID, str, str]]:
    """Return id, level and text of the announcements that this visitor has not dismissed."""
    if "announced" not in g:
        seen = request.cookies.get(COOKIE, "").split(".")
        language = i18n.chosen_language()
        g.announced = [
            (each.id, each.level, each.words[language])
            for each in announcement_cache().get()
            if each.id.hex[:12] not in seen
        ]
    found: list[tuple[uuid.UUID, str, str]] = g.announced
    return found


def _to_message(found: Announcement) -> BannerMessage:
    return BannerMessage(found.id, found.level.value, {"en": found.words_en, "ru": found.words_ru})


@blueprint.post("/<uuid:announcement_id>/seen")
def put_away(announcement_id: uuid.UUID) -> Response:
    """Dismiss an announcement for this visitor."""
    announcements.by_id(context.session(), announcement_id)
    seen = [part for part in request.cookies.get(COOKIE, "").split(".") if part.isalnum()]
    kept = [announcement_id.hex[:12], *seen][:MAX_DISMISSED]
    response = redirect(local_path(request.form.get("next"), url_for("pages.landing")), 303)
    secure = context.frozen_settings().platform.is_production
    response.set_cookie(
        COOKIE, ".".join(kept), max_age=COOKIE_MAX_AGE_SECONDS, secure=secure, httponly=True, samesite="Lax"
    )
    return response
