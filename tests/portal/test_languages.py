"""English and Russian: every sentence has both, and the right one is chosen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from flask import Flask
from flask_babel import force_locale

from models.services.notifications import mail_rendering, mail_samples
from models.users import User
from portal.i18n import catalogue
from portal.presentation import formatting
from tests.portal.conftest import Browser

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "portal/translations/ru/LC_MESSAGES/messages.po"
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
SOURCES = (
    ("models/services", "message_catalogue.py", "python"),
    ("portal", "**.py", "python"),
    ("templates", "**.html", "jinja2.ext:babel_extract"),
    ("templates", "**.jinja", "jinja2.ext:babel_extract"),
)


def said() -> set[str]:
    """Return every English sentence of code and templates; one with a plural by its singular."""
    found: set[str] = set()
    for folder, pattern, method in SOURCES:
        options = {pattern: {"trim_blocks": "true", "lstrip_blocks": "true"}}
        for _file, _line, message, _comments, _context in extract_from_dir(
            ROOT / folder, [(pattern, method)], options_map=options, keywords=KEYWORDS
        ):
            found.add(message if isinstance(message, str) else message[0])
    return found


@pytest.fixture(scope="module")
def russian() -> Catalog:
    with CATALOGUE.open("rb") as source:
        return read_po(source, locale="ru", abort_invalid=True)


def translated(catalog: Catalog) -> Iterator[tuple[str, tuple[str, ...]]]:
    for message in catalog:
        if message.id:
            one = message.id if isinstance(message.id, str) else message.id[0]
            yield one, (message.string,) if isinstance(message.string, str) else tuple(message.string)


def test_every_message_has_a_russian_translation_and_none_is_unused(russian: Catalog) -> None:
    known = {english for english, forms in translated(russian) if all(forms)}
    assert said() - known == set()
    assert known - said() == set()


def test_the_places_for_values_are_the_same_in_both_languages(russian: Catalog) -> None:
    problems = [(message.id, list(message.check())) for message in russian if message.id and list(message.check())]
    assert problems == []


@pytest.mark.parametrize(
    ("hours", "english", "russian"),
    [
        (1, "1 hour", "1 час"),
        (2, "2 hours", "2 часа"),
        (12, "12 hours", "12 часов"),
        (24, "1 day", "1 день"),
        (36, "1 day 12 hours", "1 день 12 часов"),
        (168, "7 days", "7 дней"),
        (48, "2 days", "2 дня"),
        (744, "31 days", "31 день"),
    ],
)
def test_plural_forms_are_right(app: Flask, hours: int, english: str, russian: str) -> None:
    with app.test_request_context():
        assert formatting.duration(hours) == english
        with force_locale("ru"):
            assert formatting.duration(hours) == russian


@pytest.mark.parametrize(
    ("seconds", "english", "russian"),
    [
        (0, "0 seconds", "0 секунд"),
        (61, "1 minute 1 second", "1 минута 1 секунда"),
        (7 * 86400 + 11 * 3600 + 59, "7 days 11 hours", "7 дней 11 часов"),
        (3600, "1 hour", "1 час"),
    ],
)
def test_a_duration_has_one_format_on_pages_and_in_e_mails(
    app: Flask, seconds: int, english: str, russian: str
) -> None:
    """What is left, what was bought and what a mail names are durations alike: in words, the two largest units."""
    with app.test_request_context():
        assert formatting.span(seconds) == english
        with force_locale("ru"):
            assert formatting.span(seconds) == russian
    for language, week in (("en", "7 days"), ("ru", "7 дней")):
        facts = mail_samples.sample_context("renewed") | {"hours": 168}
        letter = mail_rendering.render("renewed", facts, language=language, portal_url="https://portal.test")
        assert week in letter.text


@pytest.mark.parametrize(
    ("asks_for", "language"),
    [("ru", "ru"), ("ru-RU,ru;q=0.9,en;q=0.8", "ru"), ("de,fr;q=0.5", "en"), ("", "en"), ("en-GB,ru;q=0.5", "en")],
)
def test_the_browsers_language_is_followed(anonymous: Browser, asks_for: str, language: str) -> None:
    answer = anonymous.get("/", headers={"Accept-Language": asks_for})
    assert f'<html lang="{language}"' in answer.text
    assert {"Accept-Language", "Cookie"} <= set(answer.vary)


def test_a_chosen_language_goes_before_the_browsers(anonymous: Browser) -> None:
    anonymous.post("/preferences", lang="ru")
    assert "Войти" in anonymous.get("/login", headers={"Accept-Language": "en"}).text


def test_numbers_and_rejections_are_in_the_readers_language(as_alice: Browser, alice: User) -> None:
    as_alice.post("/preferences", lang="ru")
    page = as_alice.get("/wallet")
    assert "100,00" in page.text
    assert 'data-amount="100.00"' in page.text
    refused = as_alice.post("/wallet/top-up", amount="200000")
    assert "Сумма не должна превышать 100\xa0000,00." in refused.text
    short = as_alice.post(
        "/tokens/buy", duration_hours="720", scope="full", token_id="7e1882e7-bca0-494b-b757-33cefa288bd8"
    )
    assert "нужно 300,00 ZNC" in short.text


def test_a_filter_of_a_constant_is_translated_for_each_reader(as_dana: Browser) -> None:
    """Jinja evaluates such filters when it compiles a template, for the first reader, unless told otherwise."""
    assert "No job worker is running" in as_dana.get("/admin/jobs").text
    as_dana.post("/preferences", lang="ru")
    assert "Задания никто не выполняет" in as_dana.get("/admin/jobs").text


def test_nothing_compiled_is_left_beside_the_catalogue() -> None:
    assert catalogue("ru").gettext("Wallet") == "Кошелёк"
    assert [path.name for path in CATALOGUE.parent.iterdir()] == ["messages.po"]
    assert catalogue("en").gettext("Wallet") == "Wallet"
