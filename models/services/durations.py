"""Durations in words, the same on pages and in mails: "7 days 11 hours"."""

from babel.units import format_unit

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def format_duration(seconds: int, language: str) -> str:
    """Return a duration in its two largest units, leaving out a second one that is zero.

    Words and plural forms come from CLDR. `static/js/countdown.js` takes the same ones from the browser.
    """
    rest = max(0, seconds)
    first = next((index for index, (_, size) in enumerate(_UNITS) if rest >= size), len(_UNITS) - 1)
    parts: list[str] = []
    for unit, size in _UNITS[first : first + 2]:
        count, rest = divmod(rest, size)
        if count or not parts:
            parts.append(format_unit(count, f"duration-{unit}", length="long", locale=language))
    return " ".join(parts)
