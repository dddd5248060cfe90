"""What a provider said, and what was done, is told in words wherever an admin reads it."""

import pytest
from flask import Flask
from flask_babel import force_locale

from portal.presentation import payment_results


@pytest.mark.parametrize(
    ("done", "english", "russian"),
    [
        ("credited", "ZNC credited", "ZNC зачислены"),
        ("review: payment canceled", "Payment: canceled", "Платёж: отменён"),
        ("ignored: the payment is succeeded", "nothing (Payment: paid)", "ничего (Платёж: оплачен)"),
        ("ignored: the dispute is won", "nothing (Dispute: won)", "ничего (Спор: выигран)"),
        (
            "review: 500.00 RUB went back, and 120.00 RUB were left",
            "500.00 ₽ were refunded, but only 120.00 ₽ were left",
            "возвращено 500,00 ₽, хотя оставалось только 120,00 ₽",
        ),
        (
            "review: 120.00 RUB went back, and 100.00 RUB are booked",
            "120.00 ₽ went back, and 100.00 ₽ are booked",
            "вернулось 120,00 ₽, учтено 100,00 ₽",
        ),
        (
            "review: the amount does not fit the payment",
            "the amount or the currency is not that of the payment",
            "сумма или валюта не та, что в платеже",
        ),
        ("something of next year", "something of next year", "something of next year"),
    ],
)
def test_what_was_done_is_told_in_words(app: Flask, done: str, english: str, russian: str) -> None:
    with app.test_request_context():
        assert payment_results.result_label(done) == english
        with force_locale("ru"):
            assert payment_results.result_label(done) == russian
