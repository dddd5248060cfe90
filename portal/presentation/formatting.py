"""Format amounts, durations and descriptions of transfers in the reader's language."""

from decimal import ROUND_HALF_UP, Decimal

from models.ledger import Transfer
from models.services import durations, messages
from models.services.ledger.money import CENT
from portal.i18n import format_decimal, gettext, reader_language
from portal.presentation import labels


def amount(value: Decimal) -> str:
    """Write an amount with two places, as the reader's language does, rounded as payments are: halves go up."""
    return format_decimal(Decimal(value).quantize(CENT, rounding=ROUND_HALF_UP), "#,##0.00")


def price(value: Decimal) -> str:
    """Write a price of the list, without places when it is whole."""
    return format_decimal(value, "#,##0") if value == value.to_integral_value() else amount(value)


def duration(hours: int) -> str:
    """Write a duration that is for sale."""
    return span(hours * 3600)


def span(seconds: int) -> str:
    """Write a length of time in the reader's language."""
    return durations.format_duration(seconds, reader_language())


def transfer_description(transfer: Transfer) -> str:
    """Return the description of a transfer; an admin's reason stays as it was typed."""
    return messages.transfer_text(transfer, reader_language())


def kind_name(kind: str) -> str:
    """Return the label of a kind of e-mails and events; one without a label is shown by its name."""
    return str(labels.KINDS.get(kind, kind))


def scope_name(scope: str) -> str:
    """Return the scope's name; one that an operator added goes by its own."""
    return str(labels.SCOPES[scope][0]) if scope in labels.SCOPES else scope


def scope_help(scope: str) -> str:
    """Return what a scope grants access to."""
    return str(labels.SCOPES[scope][1]) if scope in labels.SCOPES else gettext("A scope defined by the operator.")
