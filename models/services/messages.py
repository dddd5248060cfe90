"""Message texts: turn a code with parameters into English or Russian, for pages, API, mails, commands and MCP."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from babel.numbers import format_decimal

from models import time_zones
from models.ledger import Transfer
from models.payments import PaymentEvent, PaymentReversal
from models.services import durations, message_catalogue
from models.services.errors import DomainError
from models.translations import DEFAULT, catalogue


def error_text(error: DomainError, language: str = DEFAULT, zone: tzinfo = UTC) -> str:
    """Return the message of a domain error."""
    return code_text(error.code, error.params, language, zone)


def code_text(code: str, params: Mapping[str, Any], language: str = DEFAULT, zone: tzinfo = UTC) -> str:
    """Return the message of an error code; a code without a message is shown as it is."""
    return render(message_catalogue.ERRORS.get(code, code), params, language, zone)


def transfer_text(transfer: Transfer, language: str = DEFAULT) -> str:
    """Return what a transfer was for; an admin's own text stays as it was typed."""
    if transfer.purpose is None:
        return transfer.description
    return render(message_catalogue.TRANSFERS[transfer.purpose], transfer.details, language)


def payment_result_text(event: PaymentEvent, language: str = DEFAULT) -> str:
    """Return what was done about a payment provider's report, or why nothing was."""
    return _stored(message_catalogue.PAYMENT_RESULTS, event.result or "", event.result_details, language)


def delivery_error_text(error: str, details: Mapping[str, Any], language: str = DEFAULT) -> str:
    """Return why a webhook delivery failed."""
    return _stored(message_catalogue.DELIVERY_ERRORS, error, details, language)


def ledger_rule_text(rule: str, language: str = DEFAULT) -> str:
    """Return what does not hold when a rule of the ledger verification fails."""
    return _stored(message_catalogue.LEDGER_RULES, rule, {}, language)


def reversal_reason_text(reversal: PaymentReversal, language: str = DEFAULT) -> str:
    """Return why a payment was reversed: the platform's cause, or an admin's own text."""
    return (
        _stored(message_catalogue.REVERSAL_CAUSES, reversal.cause, {}, language) if reversal.cause else reversal.reason
    )


def reversal_note_text(reversal: PaymentReversal, language: str = DEFAULT) -> str:
    """Return why a reversal was undone: the platform's cause, the provider's text or an admin's."""
    cause = reversal.end_cause
    return _stored(message_catalogue.REVERSAL_CAUSES, cause, {}, language) if cause else reversal.note


def _stored(texts: Mapping[str, str], code: str, details: Mapping[str, Any], language: str) -> str:
    """Render a stored code; an unknown one is shown as it is, because a former version wrote texts."""
    return render(texts[code], details, language) if code in texts else code


def render(text: str, params: Mapping[str, Any], language: str = DEFAULT, zone: tzinfo = UTC) -> str:
    """Translate a text of the catalogue and fill in its parameters as the language writes them."""
    written = {name: _written(name, value, language, zone) for name, value in params.items()}
    return str(catalogue(language).gettext(text)) % written


def amount(value: Decimal, language: str) -> str:
    """Write an amount with two places, rounded half up as payments are."""
    return format_decimal(value.quantize(_CENT, rounding=ROUND_HALF_UP), "#,##0.00", locale=language)


# Parameters that are codes themselves, and their texts; `duration` is a number of hours.
_LABELS = {
    "state": message_catalogue.TOKEN_STATES,
    "payment_status": message_catalogue.PAYMENT_STATUSES,
    "reversal_state": message_catalogue.REVERSAL_STATES,
}
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
        case str() if name in _LABELS:
            return catalogue(language).gettext(_LABELS[name].get(value, value))
        case int() if name == "duration":
            return durations.format_duration(value * 3600, language)
        case _:
            return value
