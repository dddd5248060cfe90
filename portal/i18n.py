"""Choice of language (English or Russian) and theme, and translation of messages."""

from decimal import Decimal

import flask_babel
from babel.support import NullTranslations
from flask import Flask, request
from werkzeug.exceptions import HTTPException

from models.translations import DEFAULT, LANGUAGES, catalogue

COOKIE = "lang"
THEMES = ("system", "light", "dark")
THEME_COOKIE = "theme"
# Prefix of the form fields with which the menu requests the same page in another language or theme.
REDRAW_PREFIX = "redraw_"


class PoDomain(flask_babel.Domain):  # type: ignore[misc]  # Flask-Babel ships no types
    """Messages read from .po files on first use, so that the repository needs no compiled catalogues."""

    def get_translations(self) -> NullTranslations:
        locale = flask_babel.get_locale()
        return catalogue(locale.language) if locale else NullTranslations()


class PoBabel(flask_babel.Babel):  # type: ignore[misc]
    """Flask-Babel with one lasting `PoDomain`."""

    _domain = PoDomain()

    @property
    def domain_instance(self) -> PoDomain:
        return self._domain


def chosen_language() -> str:
    """Return the language that the visitor chose, or else the best match for Accept-Language.

    The JSON API always uses English, since programs read its messages too.
    """
    return "en" if is_api_path(request.path) else wanted_language()


def wanted_language() -> str:
    """Return the user's language for e-mails, also for a request of the JSON API."""
    chosen = _chosen(COOKIE)
    asked_for = (name.partition("-")[0].lower() for name in request.accept_languages.values())
    return next((language for language in (chosen, *asked_for) if language in LANGUAGES), DEFAULT)


def is_api_path(path: str) -> bool:
    """Return whether a path belongs to the JSON API and not to a page."""
    return path.startswith(("/api/", "/health/"))


def is_redraw() -> bool:
    """Return whether a form was submitted only to show it again in another language or theme."""
    if request.method != "POST" or is_api_path(request.path):
        return False
    try:
        return any(REDRAW_PREFIX + name in request.form for name in (COOKIE, THEME_COOKIE))
    except HTTPException:  # the view reports a body that is too large
        return False


def _chosen(name: str) -> str:
    kept = request.cookies.get(name, "")
    return request.form.get(REDRAW_PREFIX + name, kept) if is_redraw() else kept


def chosen_theme() -> str:
    """Return the theme that the visitor chose; `system` follows the device."""
    chosen = _chosen(THEME_COOKIE)
    return chosen if chosen in THEMES else "system"


def init_app(app: Flask) -> None:
    """Set up Flask-Babel; times are stored in UTC and shown in the reader's time zone (portal.template_filters)."""
    PoBabel(app, default_locale=DEFAULT, default_timezone="UTC", locale_selector=chosen_language)
    app.jinja_env.globals.update(language=chosen_language, languages=LANGUAGES, theme=chosen_theme, themes=THEMES)


def reader_language() -> str:
    """Return the language of the page that is being rendered."""
    locale = flask_babel.get_locale()
    return str(locale.language) if locale else DEFAULT


def gettext(message: str, **values: object) -> str:
    """Translate a message now and fill in its parameters."""
    return str(flask_babel.gettext(message, **values))


def ngettext(one: str, many: str, number: int) -> str:
    """Translate a message with `%(num)d` in the plural form of the number."""
    return str(flask_babel.ngettext(one, many, number))


def format_decimal(number: Decimal | float, pattern: str | None = None) -> str:
    """Format a number for the reader's language."""
    return str(flask_babel.format_decimal(number, pattern))
