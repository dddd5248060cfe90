"""English and Russian: how a language is chosen, and where its words come from."""

from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path

import flask_babel
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, request

LANGUAGES = {"en": "English", "ru": "Русский"}
COOKIE = "lang"
THEMES = ("system", "light", "dark")
THEME_COOKIE = "theme"
_CATALOGUES = Path(__file__).parent / "translations"


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


@cache
def catalogue(language: str) -> NullTranslations:
    """Return a language's messages; English is what the sources say."""
    path = _CATALOGUES / language / "LC_MESSAGES" / "messages.po"
    if not path.is_file():
        return NullTranslations()
    with path.open("rb") as source:
        messages = read_po(source, locale=language)
    compiled = BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return Translations(compiled)


def chosen_language() -> str:
    """Return the language that the visitor set, or else the best one that his browser asks for."""
    chosen = request.cookies.get(COOKIE, "")
    asked_for = (name.partition("-")[0].lower() for name in request.accept_languages.values())
    return next((language for language in (chosen, *asked_for) if language in LANGUAGES), "en")


def chosen_theme() -> str:
    """Return the theme that the visitor set; `system` follows his device."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else "system"


def init_app(app: Flask) -> None:
    """Set up Flask-Babel; times are kept and shown in UTC, a script turns them into the reader's zone."""
    PoBabel(app, default_locale="en", default_timezone="UTC", locale_selector=chosen_language)
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
