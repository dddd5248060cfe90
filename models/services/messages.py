"""Message texts: turn a code with parameters into English or Russian, for pages, API, mails, commands and MCP."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from babel.numbers import format_decimal

from models import time_zones
from models.services import durations, message_catalogue
from models.services.errors import DomainError
from models.translations import DEFAULT, catalogue


def error_text(error: DomainError, language: str = DEFAULT, zone: tzinfo = UTC) -> str:
    """Return what to show a person of a domain error."""
    return render(message_catalogue.ERRORS.get(error.code, error.code), error.params, language, zone)


def api_error_text(code: str, **params: object) -> str:
    """Return the English text of an error that the JSON API raises itself."""
    return message_catalogue.API_ERRORS.get(code, code) % params


def render(text: str, params: Mapping[str, Any], language: str = DEFAULT, zone: tzinfo = UTC) -> str:
    """Translate a text of the catalogue and fill in its parameters as the language writes them."""
    written = {name: _written(name, value, language, zone) for name, value in params.items()}
    return str(catalogue(language).gettext(text)) % written


def amount(value: Decimal, language: str) -> str:
    """Write an amount with two places, rounded half up as payments are."""
    return format_decimal(value.quantize(_CENT, rounding=ROUND_HALF_UP), "#,##0.00", locale=language)


_CENT = Decimal("0.01")
# Parameters of stored results are JSON, where an amount is a string: its name says that it is one.
_AMOUNTS = frozenset({"amount", "booked", "left", "refunded"})


def _written(name: str, value: Any, language: str, zone: tzinfo) -> Any:
    match value:
        case Decimal():
            return amount(value, language)
        case str() if name in _AMOUNTS:
            return amount(Decimal(value), language)
        case datetime():
            return f"{value.astimezone(zone):%H:%M:%S} {time_zones.offset_of(value, zone)}"
        case str() if name == "state":
            return catalogue(language).gettext(message_catalogue.TOKEN_STATES.get(value, value))
        case int() if name == "hours":
            return durations.format_duration(value * 3600, language)
        case _:
            return value
