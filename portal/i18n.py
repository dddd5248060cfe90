"""English and Russian: how a language is chosen, and where its words come from."""

from decimal import Decimal

import flask_babel
from babel.support import NullTranslations
from flask import Flask, request
from werkzeug.exceptions import HTTPException

from models.translations import DEFAULT, LANGUAGES, catalogue

COOKIE = "lang"
THEMES = ("system", "light", "dark")
THEME_COOKIE = "theme"
# What the fields begin with by which the menu asks for the same page in another language or theme.
REDRAW_PREFIX = "redraw_"


class PoDomain(flask_babel.Domain):  # type: ignore[misc]  # Flask-Babel ships no types
    """Messages read from .po files when they are first needed, so that nothing compiled lies in the repository."""

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
    """Return the language that the visitor set, or else the best one that his browser asks for.

    The JSON API speaks English to everybody: programs read its sentences, too.
    """
    return "en" if is_api_path(request.path) else wanted_language()


def wanted_language() -> str:
    """Return the language in which a person wants to be written to, whatever a program reads meanwhile."""
    chosen = _chosen(COOKIE)
    asked_for = (name.partition("-")[0].lower() for name in request.accept_languages.values())
    return next((language for language in (chosen, *asked_for) if language in LANGUAGES), DEFAULT)


def is_api_path(path: str) -> bool:
    """Say whether an address is the JSON API's, where no page answers."""
    return path.startswith(("/api/", "/health/"))


def is_redraw() -> bool:
    """Say whether a form was sent only to be shown again, in another language or theme."""
    if request.method != "POST" or is_api_path(request.path):
        return False
    try:
        return any(REDRAW_PREFIX + name in request.form for name in (COOKIE, THEME_COOKIE))
    except HTTPException:  # a body that is too large is told by the page that this is asked for
        return False


def _chosen(name: str) -> str:
    kept = request.cookies.get(name, "")
    return request.form.get(REDRAW_PREFIX + name, kept) if is_redraw() else kept


def chosen_theme() -> str:
    """Return the theme that the visitor set; `system` follows his device."""
    chosen = _chosen(THEME_COOKIE)
    return chosen if chosen in THEMES else "system"


def init_app(app: Flask) -> None:
    """Set up Flask-Babel; times are kept in UTC and written in the reader's zone (portal.template_filters)."""
    PoBabel(app, default_locale=DEFAULT, default_timezone="UTC", locale_selector=chosen_language)
    app.jinja_env.globals.update(language=chosen_language, languages=LANGUAGES, theme=chosen_theme, themes=THEMES)


def gettext(message: str, **values: object) -> str:
    """Translate a sentence now, with values in the places that it names."""
    return str(flask_babel.gettext(message, **values))


def ngettext(one: str, many: str, number: int) -> str:
    """Translate a sentence with `%(num)d` in the form that the number needs."""
    return str(flask_babel.ngettext(one, many, number))


def format_decimal(number: Decimal | float, pattern: str | None = None) -> str:
    """Write a number as the reader's language does."""
    return str(flask_babel.format_decimal(number, pattern))
