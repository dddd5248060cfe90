"""How pages write amounts, durations and what a transfer was for."""

import re
from decimal import ROUND_HALF_UP, Decimal

from flask_babel import get_locale

from models.ledger import Transfer, TransferKind
from models.services import durations
from models.services.ledger.money import CENT
from portal.i18n import format_decimal, gettext
from portal.presentation import labels

_MORE_TIME = " h more for token "
_FIRST_NUMBER = re.compile(r"\d+")


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
    return durations.format_duration(seconds, str(get_locale()))


def transfer_description(entry: Transfer) -> str:  # noqa: PLR0911 - one for each kind
    """Say what a transfer was for; an admin's reason stays in his own words."""
    match entry.kind:
        # First of all: an admin has named it, and may have named it like anything below.
        case TransferKind.PURCHASE if entry.reference_type == "bundle_purchase":
            return gettext("Bundle %(name)s", name=entry.description.removeprefix("Bundle "))
        case TransferKind.PURCHASE if _MORE_TIME in entry.description:
            hours_more, _between, prefix = entry.description.partition(_MORE_TIME)
            return gettext("Extension of %(prefix)s by %(duration)s", duration=duration(int(hours_more)), prefix=prefix)
        case TransferKind.PURCHASE if hours := _FIRST_NUMBER.search(entry.description):
            return gettext("Token for %(duration)s", duration=duration(int(hours.group())))
        case TransferKind.REFUND:
            return gettext("Unused time of token %(prefix)s", prefix=entry.description.rpartition(" ")[2])
        case TransferKind.DEPOSIT:
            return gettext("Deposit")
        case TransferKind.REVERSAL | TransferKind.REFERRAL_BONUS:
            return gettext(entry.description)
        case TransferKind.GIFT:
            return gettext("Gift code %(prefix)s", prefix=entry.description.rpartition(" ")[2])
        case _:
            return entry.description


def kind_name(kind: str) -> str:
    """Say what mails and events of a kind are about; one without words goes by its own name."""
    return str(labels.KINDS.get(kind, kind))


def scope_name(scope: str) -> str:
    """Return the scope's name; one that an operator added goes by its own."""
    return str(labels.SCOPES[scope][0]) if scope in labels.SCOPES else scope


def scope_help(scope: str) -> str:
    """Say what the scope opens."""
    return str(labels.SCOPES[scope][1]) if scope in labels.SCOPES else gettext("A scope defined by the operator.")
