"""What a provider reported, and what was done about it, is shown in the reader's language."""

import pytest
from flask import Flask
from flask_babel import force_locale

from models.payments import PaymentEvent
from portal.presentation import payment_results


@pytest.mark.parametrize(
    ("code", "details", "needs_review", "english", "russian"),
    [
        ("credited", {}, False, "ZNC credited", "ZNC зачислены"),
        ("payment_state", {"payment_status": "canceled"}, True, "payment: canceled", "платёж: отменён"),
        ("payment_state", {"payment_status": "succeeded"}, False, "no action (payment: paid)", "(платёж: оплачен)"),
        ("dispute_state", {"reversal_state": "won"}, False, "no action (dispute: won)", "(спор: "),
        (
            "amount_exceeds_payment",
            {"refunded": "500.00", "left": "120.00"},
            True,
            "500.00 ₽ were refunded, but only 120.00 ₽ were left",
            "возвращено 500,00 ₽, хотя оставалось только 120,00 ₽",
        ),
        ("amount_mismatch", {}, True, "the amount or the currency is not that of the payment", "сумма или валюта"),
        ("100 % of next year", {}, False, "100 % of next year", "100 % of next year"),
    ],
)
def test_what_was_done_is_shown_in_the_readers_language(
    app: Flask, *, code: str, details: dict[str, str], needs_review: bool, english: str, russian: str
) -> None:
    event = PaymentEvent(result=code, result_details=details, needs_review=needs_review)
    with app.test_request_context():
        assert payment_results.result_label(event) == english
        with force_locale("ru"):
            assert russian in payment_results.result_label(event)
