"""Text validation: one line of bounded length, without characters that a database or a mail cannot hold."""

import unicodedata

from models.services.errors import InvalidInput

# Control characters (PostgreSQL refuses NUL, a header must not contain a line break) and lone surrogates.
_UNFIT = {"Cc", "Cs"}


def one_line(text: str, *, field: str, at_most: int, at_least: int = 0) -> str:
    """Return the stripped text; InvalidInput when it is too short, too long or not one line."""
    text = text.strip()
    if len(text) > at_most:
        raise InvalidInput(field, "text_too_long", count=at_most)
    if len(text) < at_least:
        raise InvalidInput(field, "text_too_short", count=at_least)
    if not is_printable(text):
        raise InvalidInput(field, "text_not_printable")
    return text


def is_printable(text: str) -> bool:
    """Return whether the text can be stored and sent unchanged."""
    return all(unicodedata.category(letter) not in _UNFIT for letter in text)
