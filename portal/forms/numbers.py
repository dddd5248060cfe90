"""Form fields for numbers, typed with the decimal and grouping separators of the reader's language.

The fields pass on plain text such as `1000.50`, which the services parse strictly.
"""

import re
from typing import Any

from babel.numbers import get_decimal_symbol, get_group_symbol
from flask_babel import get_locale
from markupsafe import Markup
from wtforms import DecimalField, Field, IntegerField, StringField
from wtforms.widgets import TextInput

from portal.i18n import gettext

_PLAIN = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
# Keyboards and copied text have several kinds of space, and none of them can be a decimal separator.
_SPACES = " \u00a0\u2009\u202f"
_MINUS_SIGN = "\u2212"


def plain_number(text: str) -> str:
    """Return a number in the reader's notation as plain text; other text is returned unchanged.

    A grouping separator is accepted only between whole groups of three digits, so that `12,34` is not read as 1234
    in English. A point is a decimal separator in every language.
    """
    typed = text.strip()
    found = _pattern().fullmatch(typed)
    if found is None:
        return typed
    sign, whole, _separator, fraction = found.groups()
    digits = "".join(letter for letter in whole if letter.isdigit())
    return f"{'-' if sign in {'-', _MINUS_SIGN} else ''}{digits}{f'.{fraction}' if fraction else ''}"


def local_number(text: str) -> str:
    """Return a plain number in the reader's notation without grouping, for a form field."""
    return text.replace(".", get_decimal_symbol(_locale())) if _PLAIN.fullmatch(text) else text


def _locale() -> Any:
    return get_locale() or "en"


def _pattern() -> re.Pattern[str]:
    decimal, group = get_decimal_symbol(_locale()), get_group_symbol(_locale())
    # A grouping point would conflict with the decimal point, which is accepted in every language.
    groups = re.escape(_SPACES + group.replace(".", ""))
    whole = rf"[0-9]+|[0-9]{{1,3}}(?:([{groups}])[0-9]{{3}}(?:\3[0-9]{{3}})*)"
    return re.compile(rf"([+\-{_MINUS_SIGN}]?)({whole})(?:[.{re.escape(decimal)}]([0-9]+))?")


class AmountField(StringField):
    """An amount; `data` is plain text for `parse_amount`, and the page shows the original input."""

    def process_formdata(self, valuelist: list[str]) -> None:
        """Parse the reader's notation."""
        super().process_formdata(valuelist)
        if isinstance(self.data, str):
            self.data = plain_number(self.data)

    def _value(self) -> str:
        return str(self.raw_data[0]) if self.raw_data else local_number(str(self.data or ""))


class _DecimalInput(TextInput):
    """A text input: browsers leave a number input empty when its value has a decimal comma."""

    def __call__(self, field: Field, **options: Any) -> Markup:
        return super().__call__(field, **{"inputmode": "decimal", "autocomplete": "off"} | options)


class PlainDecimalField(DecimalField):
    """A decimal number. Rejects `1_0`, `1e3` and digits of other scripts, which Python would accept."""

    widget = _DecimalInput()

    def process_formdata(self, valuelist: list[str]) -> None:
        """Parse the reader's notation and reject everything else."""
        plain = [plain_number(value) for value in valuelist]
        if plain and plain[0] and not _PLAIN.fullmatch(plain[0]):
            raise ValueError(gettext("Enter an amount such as 50 or 12.34, with at most two decimal places."))
        super().process_formdata(plain)

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else local_number(f"{self.data:.2f}")


class WholeNumberField(IntegerField):
    """A whole number, which may be grouped in thousands."""

    def process_formdata(self, valuelist: list[str]) -> None:
        """Parse the reader's notation."""
        super().process_formdata([plain_number(value) for value in valuelist])
