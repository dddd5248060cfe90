"""Languages, and the message catalogue that pages and mails share."""

from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

LANGUAGES = {"en": "English", "ru": "Русский"}
# The language of the sources.
DEFAULT = "en"
_CATALOGUES = Path(__file__).resolve().parent.parent / "portal" / "translations"


@cache
def catalogue(language: str) -> NullTranslations:
    """Return a language's messages, compiled in memory, so that the repository contains no compiled file."""
    path = _CATALOGUES / language / "LC_MESSAGES" / "messages.po"
    if not path.is_file():
        return NullTranslations()
    with path.open("rb") as source:
        messages = read_po(source, locale=language)
    compiled = BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return Translations(compiled)
