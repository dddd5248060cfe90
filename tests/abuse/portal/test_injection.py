"""HTML, script and formula injection through every field, in pages, mails, files and the API.

docs/spec/invariants.md#31-injection
"""

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from markupsafe import escape
from sqlalchemy import select
from sqlalchemy.orm import Session
from wtforms import PasswordField, StringField
from wtforms.fields.core import UnboundField

from models.config.settings import Settings
from models.outbox import OutboxMail
from models.services.actor import Actor
from models.services.gateway import sessions
from models.services.ledger import adjustments
from models.services.notifications import mail_rendering, mail_samples
from models.translations import LANGUAGES
from models.users import User
from portal.forms.base import Form
from tests.abuse.portal.forms import forms_of
from tests.factories import buy
from tests.models.services.payments.test_reversals import paid
from tests.portal.api.conftest import Program
from tests.portal.conftest import Browser
from tests.portal.test_routes import Shop, pages, rules

# A formula, a tag, both kinds of quotes and a template, in few letters.
EVIL = "=1+<b x=\"'>{{7*7}}"
RAW = ("<b x=", "x=\"'", "<script>alert", '=1+&lt;b x="')
# What the fields beside the attacked one need, so that the form goes through.
GOOD = {
    "amount": "1",
    "low_balance": "5",
    "token_count": "5",
    "discount_percent": "5",
    "percent": "5",
    "count": "1",
    "uses_each": "1",
    "uses_per_user": "1",
    "uses_in_all": "9",
    "name": "Fine",
    "text": "A note",
    "url": "https://example.org/hook",
    "topic": "bonus",
    "reason": "a good reason",
    "note": "a good note",
    "words_en": "We move.",
    "words_ru": "Мы переезжаем.",
    "code": "FINE1",
    "duration_hours": "1",
    "scope": "full",
}
# These end what the walk goes through.
ENDS = ("/logout", "/profile/delete", "/two-factor", "/view-as", "/logins/", "/active", "/superuser", "/bulk", "/end")
# Nobody is shown these again: passwords, and codes that are compared and forgotten.
NEVER_SHOWN = {"password", "current_password", "new_password", "repeated"}


def typed_fields() -> dict[str, set[str]]:
    """Return the text fields of every form class."""

    def below(kind: type[Form]) -> Iterator[type[Form]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    found: dict[str, set[str]] = {}
    for form in below(Form):
        fields = {name: value for name in dir(form) if isinstance(value := getattr(form, name), UnboundField)}
        texts = {
            name
            for name, value in fields.items()
            if issubclass(value.field_class, StringField) and not issubclass(value.field_class, PasswordField)
        }
        found[form.__name__] = texts
    return found


def attack(browser: Browser, html: str, done: set[Any]) -> Iterator[str]:
    """Submit every form of a page with each of its fields replaced in turn; yield the names of the fields."""
    for form in forms_of(html):
        if form.key() in done or not form.typed or any(word in form.action for word in ENDS):
            continue
        done.add(form.key())
        if NEVER_SHOWN & set(form.values):
            continue
        for name in sorted(form.typed):
            values = {**form.values, **{key: GOOD[key] for key in form.values if key in GOOD}, name: EVIL}
            if form.method == "GET":
                answer = browser.get(form.action or "/", query_string=values)
            else:
                answer = browser.post(form.action, **{**values, "csrf_token": browser.csrf_token()})
            assert (form.action, name, answer.status_code < 500) == (form.action, name, True)
            assert (form.action, name, raw(answer.text)) == (form.action, name, [])
            yield name


def raw(text: str) -> list[str]:
    return [part for part in RAW if part in text]


def walk(app: Flask, shop: Shop, browser: Browser, *, admin: bool) -> Iterator[tuple[str, str]]:
    """Yield the address and text of every page that a user can see."""
    for rule in rules(app, "GET"):
        if rule.rule.startswith("/admin") is admin and not rule.endpoint.startswith(("docs.", "static", "links.")):
            answer = browser.get(shop.path(rule))
            if answer.mimetype == "text/html":
                yield shop.path(rule), answer.text


@pytest.fixture
def as_evil(alice: User, app: Flask, as_alice: Browser, as_dana: Browser) -> tuple[Browser, Browser]:
    """Alice and dana, with malicious user agents."""
    for browser in (as_alice, as_dana):
        browser.client.environ_base["HTTP_USER_AGENT"] = EVIL
        browser.client.environ_base["HTTP_REFERER"] = EVIL
    other = Browser(app.test_client())
    other.client.environ_base["HTTP_USER_AGENT"] = EVIL
    other.log_in(alice)
    return as_alice, as_dana


def test_31_html_script_or_formula_injected_into_any_field_is_shown_as_text(
    *, app: Flask, shop: Shop, as_evil: tuple[Browser, Browser], anonymous: Browser, alices: Program, danas: Program,
    alice: User, session: Session, settings: Settings,
) -> None:  # fmt: skip
    as_alice, as_dana = as_evil
    attacked: set[str] = set()
    done: set[Any] = set()
    for browser, admin in ((as_alice, False), (as_dana, True)):
        for _path, html in walk(app, shop, browser, admin=admin):
            attacked.update(attack(browser, html, done))
    for path in ("/admin/settings/maintenance.words_en", "/admin/settings/prices.znc"):
        attacked.update(attack(as_dana, as_dana.get(path).text, done))
    # The form for a chargeback needs a settled payment.
    settled = paid(session, alice, settings)
    session.commit()
    attacked.update(attack(as_dana, as_dana.get(f"/admin/payments/{settled.id}").text, done))
    for path in ("/register", "/login"):
        for name in ("email", "username", "referral_code", "next", "time_zone"):
            answer = anonymous.post(
                path, **{"email": "e@example.test", "username": "erin", "password": "x", name: EVIL}
            )
            assert (path, name, raw(answer.text), answer.status_code < 500) == (path, name, [], True)
            attacked.add(name)
    assert_every_form_was_attacked(attacked)
    attack_api(app, danas)
    attack_api(app, alices)
    # What comes by other ways than a field: a client's device and name, and what an admin writes.
    token = buy(session, alice, settings, name=EVIL)
    who = Actor(alice.id, "::1", EVIL)
    sessions.start_session(session, token.id, device=EVIL, rules=settings.sessions, actor=who)
    adjustments.adjust(session, alice, amount=Decimal(1), reason=EVIL, actor=who)
    session.commit()
    session.expire_all()

    shown: list[str] = []
    for browser, admin in ((as_alice, False), (as_dana, True)):
        for path, html in walk(app, shop, browser, admin=admin):
            assert (path, raw(html)) == (path, [])
            shown += [path] if str(escape(EVIL)) in html else []
    # It is there, and it is text.
    admin_pages = {"/admin/tokens", "/admin/sessions", "/admin/audit", "/admin/offers", f"/admin/users/{alice.id}"}
    expected = {"/profile", "/tokens", "/wallet", "/profile/logins", "/profile/keys", *admin_pages}
    assert expected <= set(shown), sorted(shown)
    assert alice.full_name == EVIL
    assert_files_are_text(app, shop, as_alice, as_dana)


def assert_every_form_was_attacked(attacked: set[str]) -> None:
    # A code of the second factor is compared and forgotten; the numbers of a form are no text.
    left = {form: fields - attacked - {"code", "seen", "value"} for form, fields in typed_fields().items()}
    assert {form: fields for form, fields in left.items() if fields} == {}


def attack_api(app: Flask, program: Program) -> None:
    """Send every body of the OpenAPI document with each text replaced in turn."""
    document = app.test_client().get("/openapi.json").json
    assert document is not None
    kinds = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            kind = kinds.get(body.get("$ref", "").rpartition("/")[2], {})
            fields = kind.get("properties", {})
            good = {name: facts["examples"][0] for name, facts in fields.items() if facts.get("examples")}
            for name in fields:
                if name in NEVER_SHOWN or path.endswith("/users/{user_id}"):
                    continue
                sent = {**{key: value for key, value in good.items() if key not in NEVER_SHOWN}, name: EVIL}
                url = path.replace("{", "").replace("}", "")
                answer = program.client.open(url, method=method.upper(), json=sent, headers=program.headers)
                assert (path, name, answer.status_code < 500) == (path, name, True)
                assert answer.mimetype == "application/json"


def assert_files_are_text(app: Flask, shop: Shop, as_alice: Browser, as_dana: Browser) -> None:
    """Assert that no CSV cell is a formula and no PDF has an action."""
    cells = 0
    for rule in pages(app):
        if "GET" not in (rule.methods or ()) or rule.endpoint.startswith(("docs.", "static")):
            continue
        browser = as_dana if rule.rule.startswith("/admin") else as_alice
        answer = browser.get(shop.path(rule), query_string={"format": "csv"})
        if answer.mimetype == "text/csv":
            for row in csv.reader(io.StringIO(answer.text)):
                for cell in row:
                    cells += cell.startswith(f"'{EVIL[:5]}")
                    assert (rule.rule, cell[:1] in "=+@\t\r\n" and cell != "") == (rule.rule, False)
                    assert not cell.startswith("-") or cell.replace(".", "").removeprefix("-").isdecimal()
        if answer.mimetype == "application/pdf":
            assert not any(word in answer.data for word in (b"/JavaScript", b"/JS", b"/Launch", b"/URI"))
    assert cells >= 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_31_html_injected_into_any_variable_of_a_mail_is_text_and_adds_no_header(language: str) -> None:
    folded = f"{EVIL}\r\nBcc: mallory@evil.example"

    def evil(facts: Any) -> Any:
        match facts:
            case dict():
                return {key: evil(value) for key, value in facts.items()}
            case list():
                return [evil(value) for value in facts]
            case str() if not facts[:1].isdigit() and not facts.startswith("http"):
                return folded
            case _:
                return facts

    for kind in mail_rendering.kinds():
        letter = mail_rendering.render(
            kind, evil(mail_samples.sample_context(kind)), language=language, portal_url="https://shop.example"
        )
        assert (kind, raw(letter.html or "")) == (kind, [])
        assert "\n" not in letter.subject.strip()
        assert "\r" not in letter.subject


def test_31_user_input_is_text_in_the_mails_that_contain_it(
    as_alice: Browser, alice: User, session: Session, settings: Settings
) -> None:
    buy(session, alice, settings, hours=1, name=EVIL)
    adjustments.adjust(session, alice, amount=Decimal(1), reason=EVIL, actor=Actor(alice.id))
    for mail in session.scalars(select(OutboxMail)):
        letter = mail_rendering.render(mail.kind, mail.context, language="ru", portal_url="https://shop.example")
        assert raw(letter.html or "") == []
