"""Amounts are read strictly, booked in whole cents and rounded down."""

from decimal import Decimal

import pytest

from models.services.errors import InvalidInput
from models.services.ledger import money

NONSENSE = ["", " ", "1,5", "NaN", "nan", "Infinity", "1e30", "1E2", "0.001", "1.", ".5", "1_000", "0x10", "1 000"]
NONSENSE += ["--1", "+", "12.34.56", "1.5\x00", "1\n2", "12345678901", "²", "\u0661\u0662", "\uff11\uff12", "1.\u0665"]


@pytest.mark.parametrize(("text", "amount"), [("50", "50.00"), ("12.34", "12.34"), ("0.01", "0.01"), ("+7.5", "7.50")])
def test_a_plain_amount_is_read_with_two_places(text: str, amount: str) -> None:
    assert str(money.parse_amount(text)) == amount


def test_blanks_around_an_amount_do_not_matter() -> None:
    assert money.parse_amount(" 50\t") == 50


@pytest.mark.parametrize("text", NONSENSE)
@pytest.mark.parametrize("signed", [False, True])
def test_text_that_is_not_a_plain_amount_is_refused(text: str, signed: bool) -> None:
    with pytest.raises(InvalidInput, match="amount_malformed"):
        money.parse_amount(text, signed=signed)


@pytest.mark.parametrize("text", ["0", "0.00", "-0", "+0.0"])
def test_zero_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="amount_zero"):
        money.parse_amount(text, signed=True)


def test_a_negative_amount_is_refused_unless_signs_are_allowed() -> None:
    with pytest.raises(InvalidInput, match="amount_not_positive"):
        money.parse_amount("-5")
    assert money.parse_amount("-5", signed=True) == -5


def test_an_amount_above_the_limit_is_refused_and_the_error_names_field_and_limit() -> None:
    with pytest.raises(InvalidInput, match=r"amount_too_large \(limit=100\)") as caught:
        money.parse_amount("100.01", field="amount_znc", at_most=Decimal(100))
    assert caught.value.field == "amount_znc"
    assert money.parse_amount("100.00", at_most=Decimal(100)) == 100
    with pytest.raises(InvalidInput):
        money.parse_amount("-100.01", signed=True, at_most=Decimal(100))


@pytest.mark.parametrize(
    "amount", ["0", "-1", "NaN", "sNaN", "Infinity", "-Infinity", "1e30", "0.001", "0.005", "1e10"]
)
def test_amounts_that_cannot_be_booked_are_refused(amount: str) -> None:
    with pytest.raises(InvalidInput):
        money.require_amount(Decimal(amount))


@pytest.mark.parametrize("amount", ["0.01", "1", "1.50", "1.5000", "9999999999.99"])
def test_whole_cents_can_be_booked(amount: str) -> None:
    assert money.require_amount(Decimal(amount)) == Decimal(amount)


@pytest.mark.parametrize(("exact", "paid"), [("0.999", "0.99"), ("0.009", "0.00"), ("5", "5.00"), ("1.2399", "1.23")])
def test_rounding_is_always_down(exact: str, paid: str) -> None:
    assert str(money.round_down(Decimal(exact))) == paid
