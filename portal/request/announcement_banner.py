"""Announcements above each page. A reader who has seen one puts it away, and his browser remembers it."""

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
# The cookie holds so many at most; whoever has put away more sees the oldest again.
MAX_DISMISSED = 20
COOKIE_MAX_AGE_SECONDS = 90 * 24 * 3600
# A process asks the database again after this long.
CACHE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class BannerMessage:
    """An announcement as it is shown; values of its own, for it outlives the session that read it."""

    id: uuid.UUID
    level: str
    words: dict[str, str]


class AnnouncementCache:
    """What one process knows of the announcements that are shown now."""

    def __init__(self) -> None:
        self._known: Sequence[BannerMessage] = ()
        self._good_until = float("-inf")

    def get(self) -> Sequence[BannerMessage]:
        """Return what is shown; while the database does not answer, what was shown last."""
        if time.monotonic() >= self._good_until:
            self._good_until = time.monotonic() + CACHE_SECONDS
            try:
                self._known = [_to_message(each) for each in announcements.current_announcements(context.session())]
            except SQLAlchemyError:
                context.session().rollback()
        return self._known

    def forget(self) -> None:
        """Ask again at the next page."""
        self._good_until = float("-inf")


def init_app(app: Flask) -> None:
    """Let templates ask what is to be announced."""
    app.extensions["zenzefi-board"] = AnnouncementCache()
    app.jinja_env.globals.update(announced=current_announcements)


def announcement_cache() -> AnnouncementCache:
    """Return this process's board."""
    found: AnnouncementCache = current_app.extensions["zenzefi-board"]
    return found


def current_announcements() -> list[tuple[uuid.UUID, str, str]]:
    """Return id, level and words of what this reader has not put away."""
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
    """Remember that this reader has seen an announcement."""
    announcements.by_id(context.session(), announcement_id)
    seen = [part for part in request.cookies.get(COOKIE, "").split(".") if part.isalnum()]
    kept = [announcement_id.hex[:12], *seen][:MAX_DISMISSED]
    response = redirect(local_path(request.form.get("next"), url_for("pages.landing")), 303)
    secure = context.frozen_settings().platform.is_production
    response.set_cookie(
        COOKIE, ".".join(kept), max_age=COOKIE_MAX_AGE_SECONDS, secure=secure, httponly=True, samesite="Lax"
    )
    return response
