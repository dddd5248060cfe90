"""Numbers as readers type them: the separators of their language, and nothing that could be read in two ways."""

import re
from decimal import Decimal

import flask_babel
import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.config.settings import Settings
from models.coupons import Coupon
from models.payments import Payment
from models.services.ledger import transfers
from models.services.settings import overrides
from models.users import User
from portal.forms.numbers import local_number, plain_number
from portal.presentation.formatting import amount
from tests.portal.conftest import Browser

NBSP, NARROW = "\u00a0", "\u202f"


@pytest.mark.parametrize(
    ("language", "typed", "plain"),
    [
        # The separators of the language as the Unicode CLDR has them, which is what pages write amounts with.
        ("ru", "12,34", "12.34"),
        ("ru", "1 000,50", "1000.50"),
        ("ru", f"1{NBSP}234{NBSP}567,5", "1234567.5"),
        ("ru", f"1{NARROW}000", "1000"),
        ("ru", "-12,50", "-12.50"),
        ("ru", "\u221212,50", "-12.50"),
        ("ru", "12.34", "12.34"),
        ("en", "1,000.50", "1000.50"),
        ("en", "1,234,567", "1234567"),
        ("en", "1 000.50", "1000.50"),
        ("en", " 50 ", "50"),
        # What is no number of the language is left to the strict reader, which refuses it.
        ("en", "12,34", "12,34"),
        ("en", "1,5", "1,5"),
        ("en", "1,00,000", "1,00,000"),
        ("en", "1.000,50", "1.000,50"),
        ("en", "1,234 567", "1,234 567"),
        ("ru", "1.000,50", "1.000,50"),
        ("ru", "1 00", "1 00"),
        ("ru", "12,34,56", "12,34,56"),
        ("ru", ",5", ",5"),
        ("ru", "٣", "٣"),
        ("ru", "1e3", "1e3"),
        ("ru", "1_0", "1_0"),
        ("ru", "", ""),
    ],
)
def test_a_number_is_read_in_the_notation_of_the_language(app: Flask, language: str, typed: str, plain: str) -> None:
    with app.test_request_context(), flask_babel.force_locale(language):
        assert plain_number(typed) == plain


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("value", ["0.01", "12.34", "1000.50", "-1234567.89"])
def test_what_a_page_writes_can_be_typed_again(app: Flask, language: str, value: str) -> None:
    with app.test_request_context(), flask_babel.force_locale(language):
        assert plain_number(amount(Decimal(value))) == value
        assert plain_number(local_number(value)) == value


def test_a_russian_reader_tops_up_with_a_comma_and_the_page_keeps_what_was_typed(
    as_charlie: Browser, session: Session, charlie: User
) -> None:
    as_charlie.client.set_cookie("lang", "ru")
    answer = as_charlie.post("/wallet/top-up", amount="1 000,50", provider="mock")
    assert answer.status_code == 303
    payment = session.scalars(select(Payment)).one()
    assert payment.amount_znc == Decimal("1000.50")
    refused = as_charlie.post("/wallet/top-up", amount="12,345", provider="mock")
    assert refused.status_code == 400
    assert 'value="12,345"' in refused.text
    assert "12,34:" in refused.text
    assert 'value="18,50"' in as_charlie.get("/wallet?amount=18.50").text


def test_a_decimal_comma_is_in_no_number_input_since_browsers_show_that_empty(as_dana: Browser) -> None:
    as_dana.client.set_cookie("lang", "ru")
    field = re.search(r'<input[^>]*name="discount_percent"[^>]*>', as_dana.get("/admin/bundles/new").text)
    assert field is not None
    assert ('value="10,00"' in field[0], 'type="text"' in field[0]) == (True, True)


def test_an_english_reader_is_not_misunderstood(as_charlie: Browser, session: Session) -> None:
    assert as_charlie.post("/wallet/top-up", amount="12,34", provider="mock").status_code == 400
    assert session.scalars(select(Payment)).all() == []


def test_every_amount_that_a_page_takes_is_read_so(
    *, as_dana: Browser, as_charlie: Browser, session: Session, charlie: User, settings: Settings
) -> None:
    for browser in (as_dana, as_charlie):
        browser.client.set_cookie("lang", "ru")
    key = "7e1882e7-bca0-494b-b757-33cefa288bd8"
    as_dana.post(f"/admin/users/{charlie.id}/adjust", amount="1 000,50", reason="Goodwill", key=key)
    session.expire_all()
    assert transfers.wallet_of(session, charlie.id).balance == Decimal("1000.50")
    as_charlie.post("/notifications", low_balance="7,25")
    session.expire_all()
    assert charlie.low_balance_znc == Decimal("7.25")
    assert as_dana.post("/admin/coupons/new", code="SPRING", percent="12,5", uses_in_all="1 000").status_code == 303
    assert session.scalars(select(Coupon.percent)).one() == Decimal("12.50")
    for setting, value in (
        ("prices.rub_per_znc", "10,25"),
        ("prices.znc", "1 = 1,50"),
        ("limits.api_per_minute", "1 000"),
    ):
        sent = {"value": value, "reason": "for a test", "seen": "0"}
        assert as_dana.post(f"/admin/settings/{setting}", **sent).status_code == 303, setting
    changed = overrides.effective_settings(session, settings)
    assert (changed.prices.rub_per_znc, changed.prices.znc[1]) == (Decimal("10.25"), Decimal("1.50"))
    assert changed.limits.api_per_minute == 1000
