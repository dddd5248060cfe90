"""Amounts: decimals with two places, read strictly and rounded down."""

import re
from decimal import ROUND_DOWN, Decimal

from models.services.errors import InvalidInput

CENT = Decimal("0.01")
LARGEST = Decimal("9999999999.99")
_PLAIN = re.compile(r"[+-]?\d{1,10}(\.\d{1,2})?", re.ASCII)


def parse_amount(text: str, *, field: str = "amount", signed: bool = False, at_most: Decimal = LARGEST) -> Decimal:
    """Read an amount in ZNC such as `50` or `12.34`.

    Zero, more than two places, exponents, NaN, a comma and anything above `at_most` raise InvalidInput;
    a negative amount does too unless `signed`.
    """
    text = text.strip()
    if not is_plain_decimal(text):
        raise InvalidInput(field, "amount_malformed")
    amount = Decimal(text).quantize(CENT)
    if amount == 0:
        raise InvalidInput(field, "amount_zero")
    if amount < 0 and not signed:
        raise InvalidInput(field, "amount_not_positive")
    if abs(amount) > at_most:
        raise InvalidInput(field, "amount_too_large", limit=at_most)
    return amount


def is_plain_decimal(text: str) -> bool:
    """Return whether a text is digits with at most two after a point; Python's Decimal reads `12_0` as 120."""
    return _PLAIN.fullmatch(text.strip()) is not None


def require_amount(amount: Decimal, *, field: str = "amount") -> Decimal:
    """Return an amount that can be booked: finite, above zero, in whole cents; InvalidInput otherwise.

    The last gate before the ledger: PostgreSQL takes NaN for larger than any number and rounds what has more places.
    """
    if not amount.is_finite() or not 0 < amount <= LARGEST or amount != amount.quantize(CENT):
        raise InvalidInput(field, "amount_not_bookable", limit=LARGEST)
    return amount


def round_down(amount: Decimal) -> Decimal:
    """Cut to whole cents, never up: what we pay back is never more than what is due."""
    return amount.quantize(CENT, rounding=ROUND_DOWN)
