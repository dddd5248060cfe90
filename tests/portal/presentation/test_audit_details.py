"""What the audit log tells is told in words: names, amounts, times, and values that are one of a few."""

from typing import Any

import pytest
from flask import Flask
from flask_babel import force_locale

from models.audit import AuditAction, AuditEntry
from portal.presentation.audit_details import details


@pytest.mark.parametrize(
    ("action", "name", "value", "english", "russian"),
    [
        (AuditAction.TOKEN_PURCHASED, "price", "1018.00", "price 1,018.00 ZNC", "цена 1 018,00 ZNC"),
        (AuditAction.TOKEN_PURCHASED, "hours", 24, "time 1 day", "время 1 день"),
        (AuditAction.TOKEN_PURCHASED, "scope", "full", "scope Full access", "доступ Полный доступ"),
        (AuditAction.API_KEY_MADE, "scope", "buy", "scope read and write", "доступ чтение и запись"),
        (AuditAction.API_KEY_MADE, "days", 1, "valid for 1 day", "срок 1 день"),
        (AuditAction.PAYMENT_REFUNDED, "amount_rub", "500.00", "in rubles 500.00 ₽", "в рублях 500,00 ₽"),
        (AuditAction.INSPECTION_STARTED, "target", "token", "inspection A token", "инспекция Токен"),
        (AuditAction.INSPECTION_STARTED, "minutes", 90, "for 1 hour 30 minutes", "на время 1 час 30 минут"),
        (AuditAction.TOKEN_RENEWAL_STOPPED, "reason", "late", "reason too late", "причина слишком поздно"),
        (AuditAction.TOKEN_FORCE_REVOKED, "reason", "late", "reason late", "причина late"),
        (AuditAction.TOKEN_PAUSED, "reason", "debt", "reason debt", "причина долг"),
        (AuditAction.WEBHOOK_CHANGED, "change", "switched_on", "change enabled", "изменение включён"),
        (AuditAction.WEBHOOK_CHANGED, "change", "switched on", "change enabled", "изменение включён"),
        (
            AuditAction.PAYMENT_REFUNDED,
            "cause",
            "disputed_by_bank",
            "reason Disputed by the payer's bank",
            "причина Оспорено банком плательщика",
        ),
        (AuditAction.SETTING_CHANGED, "key", "prices.znc", "setting Prices", "настройка Цены"),
        (AuditAction.BUNDLE_CHANGED, "discount_percent", "12.50", "discount 12.50 %", "скидка 12,50 %"),
        (AuditAction.BUNDLE_CHANGED, "active", False, "in effect no", "действует нет"),
        (AuditAction.TOKEN_RENAMED, "before", "", "old value \u2013", "старое значение \u2013"),
    ],
)
def test_a_detail_has_a_label_and_a_formatted_value(
    *, app: Flask, action: AuditAction, name: str, value: Any, english: str, russian: str
) -> None:
    entry = AuditEntry(action=action, details={name: value})
    with app.test_request_context():
        assert told(entry) == [english]
        with force_locale("ru"):
            assert told(entry) == [russian]


def test_the_two_values_of_a_changed_setting_are_written_as_settings_are(app: Flask) -> None:
    facts = {"after": True, "before": False, "key": "maintenance.on", "reason": "moving"}  # as JSONB gives them back
    with app.test_request_context():
        assert told(AuditEntry(action=AuditAction.SETTING_CHANGED, details=facts)) == [
            "setting Maintenance mode",
            "old value off",
            "new value on",
            "reason moving",
        ]
        facts = {"key": "limits.topup_max_znc", "before": "100000", "after": 50_000}
        assert told(AuditEntry(action=AuditAction.SETTING_CHANGED, details=facts)) == [
            "setting Maximum top-up in ZNC",
            "old value 100,000",
            "new value 50,000",
        ]


def test_unknown_names_and_types_of_details_are_shown_as_recorded(app: Flask) -> None:
    facts = {"odd_name": "x", "price": "a lot", "hours": None, "scope": ["full"], "days": {"a": 1}}
    with app.test_request_context():
        entry = AuditEntry(action=AuditAction.TOKEN_PURCHASED, details=facts)
        assert told(entry) == ["scope ['full']", "valid for {'a': 1}", "price a lot", "odd name x"]


def told(entry: AuditEntry) -> list[str]:
    return [f"{detail.label} {detail.value}".replace("\u00a0", " ") for detail in details(entry)]
