"""Every form page: all mistakes at once, another language without losing what was typed, and an address that opens."""

import re
import uuid
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.users import User
from tests.portal.conftest import Browser
from tests.portal.test_routes import Shop, pages, rules, shop

__all__ = ["shop"]  # the fixture: one of everything that pages show

WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "/webhooks",
        {"endpoint_id": str(uuid.uuid4()), "url": "nonsense", "topic": []},
        ["Enter an address such as", "Choose at least one topic"],
    ),
    (
        "/admin/gifts/new",
        {"amount": "x", "count": "0", "uses_each": "0", "note": "x", "key": str(uuid.uuid4())},
        [
            "Enter an amount such as",
            "Create 1 to 1000 codes at once.",
            "The limit must be at least 1.",
            "at least 3 characters",
        ],
    ),
    (
        "/admin/coupons/new",
        {"code": "x", "percent": "120", "uses_per_user": "0"},
        ["at least 3 characters", "The percentage must be above 0 and below 100.", "The limit must be at least 1."],
    ),
    (
        "/admin/bundles/new",
        {"name": "x" * 51, "token_count": "1", "discount_percent": "95", "duration_hours": "24", "scope": "full"},
        ["at most 50 characters", "A bundle contains 2 to 100 tokens.", "The discount must be 0 to 90 percent."],
    ),
    (
        "/admin/announcements",
        {"level": "info", "words_en": "x", "words_ru": "y", "ends_at": "2001-01-01T00:00", "key": str(uuid.uuid4())},
        ["at least 3 characters", "The end must be after the start"],
    ),
]


def test_a_new_buyer_sees_every_mistake_of_the_form_at_once(anonymous: Browser) -> None:
    answer = anonymous.post("/register", email="alice", username="a b", password="short")
    assert answer.status_code == 400
    for mistake in (
        "Enter a valid e-mail address.",
        "Use 3 to 50 letters, digits, dots, hyphens or underscores.",
        "Use 8 to 128 characters.",
    ):
        assert answer.text.count(f'role="alert">{mistake}<') == 1


def test_a_taken_username_and_an_unknown_referral_code_are_shown_with_the_other_errors(
    anonymous: Browser, alice: User
) -> None:
    answer = anonymous.post(
        "/register",
        email="new@example.test",
        username=alice.username,
        password="password",
        referral_code="NOBODYS-CODE",
    )
    assert answer.status_code == 400
    assert "This username is already taken." in answer.text
    assert "Referral code not found." in answer.text
    assert answer.text.count('class="field-error"') == 3


@pytest.mark.parametrize(("path", "fields", "mistakes"), WRONG)
def test_a_form_shows_all_its_mistakes_at_once(
    as_dana: Browser, path: str, fields: dict[str, Any], mistakes: list[str]
) -> None:
    answer = as_dana.post(path, **fields)
    assert answer.status_code == 400
    for mistake in mistakes:
        assert mistake in answer.text


def test_choosing_a_language_keeps_the_page_with_its_mistakes_and_input(anonymous: Browser, session: Session) -> None:
    typed = {"email": "new@example.test", "username": "a b", "password": "a long enough password"}
    answer = anonymous.post("/register?next=/wallet", **typed)
    button = re.search(
        r'<button name="redraw_lang" value="ru"[^>]*form="sent-form" formaction="([^"]+)" formnovalidate', answer.text
    )
    assert button is not None
    assert button[1] == "/register?next=/wallet"
    assert re.search(r'<form id="sent-form"[^>]*action="/register"', answer.text)
    again = anonymous.post(button[1], **typed, redraw_lang="ru")
    assert '<html lang="ru"' in again.text
    assert 'value="new@example.test"' in again.text
    assert "Используйте" in again.text or "От 3 до 50" in again.text
    assert "Войти" in anonymous.get("/login").text
    dark = anonymous.post(button[1], **typed, redraw_theme="dark")
    assert 'data-theme="dark"' in dark.text


def test_redrawing_a_form_submits_nothing(anonymous: Browser, as_alice: Browser, alice: User, session: Session) -> None:
    before = session.scalar(select(func.count()).select_from(User))
    fine = {"email": "new@example.test", "username": "newcomer", "password": "a long enough password"}
    again = anonymous.post("/register", **fine, redraw_lang="ru")
    assert 'value="newcomer"' in again.text
    assert session.scalar(select(func.count()).select_from(User)) == before
    as_alice.post("/wallet/top-up", amount="x", redraw_lang="ru")
    session.refresh(alice)
    assert alice.language == "ru"
    assert as_alice.post("/wallet/top-up", amount="x", redraw_lang="xx").status_code == 400


def test_every_page_that_answers_a_form_can_be_shown_again_and_fetched(
    app: Flask, shop: Shop, as_alice: Browser, as_dana: Browser
) -> None:
    """The address of a form's answer is reloaded, bookmarked and come back to: no GET of it is 405."""
    shown = {rule.rule for rule in pages(app) if "GET" in (rule.methods or ())}
    for rule in rules(app, "POST"):
        if rule.rule.startswith("/api/"):
            continue  # callbacks of payment providers, which no page leads to
        browser = as_dana if rule.rule.startswith("/admin") else as_alice
        path = shop.path(rule)
        if rule.rule not in shown:
            answer = browser.get(path)
            assert (rule.rule, answer.status_code) == (rule.rule, 302)
            assert browser.get(answer.location).status_code in {200, 302, 308, 404}, rule.rule
        # Nothing is filled in, so that whatever has a form shows it again.
        refused = browser.post(path)
        if refused.status_code == 400 and "field-error" in refused.text:
            assert 'id="sent-form"' in refused.text, rule.rule
            assert 'form="sent-form"' in refused.text, rule.rule


def test_the_return_path_of_a_form_is_kept(as_alice: Browser) -> None:
    answer = as_alice.get("/wallet/top-up?next=/tokens/buy")
    assert answer.location == "/wallet?next=/tokens/buy"
    assert as_alice.get("/profile/password").location == "/profile"
    assert as_alice.get("/preferences").location == "/"
    assert as_alice.get(f"/tokens/{uuid.uuid4()}/resume").status_code == 302
