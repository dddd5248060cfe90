"""Settings that admins change at run time, and what buyers notice of it."""

import uuid

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from models.setting_changes import SettingChange
from models.users import User
from tests.factories import balance, some_bundle
from tests.portal.conftest import Browser, text_of


def save(browser: Browser, key: str, value: str, **more: str) -> int:
    seen = attribute_of(browser.get(f"/admin/settings/{key}").text, 'name="seen"')
    fields = {"value": value, "reason": "for a test", "seen": seen, **more}
    return browser.post(f"/admin/settings/{key}", **fields).status_code


def attribute_of(html: str, name: str) -> str:
    return html.partition(name)[2].partition('value="')[2].partition('"')[0]


def test_a_change_is_good_at_once_and_can_be_undone(as_dana: Browser, alice: User, session: Session) -> None:
    session.commit()
    assert save(as_dana, "prices.znc", "24 = 20\n1=2") == 303
    assert as_dana.flashes("/admin/settings").startswith("Saved.")
    landing = as_dana.get("/").text
    assert "20" in text_of(as_dana.get("/"), "prices")
    assert "720" not in landing
    row = session.scalars(select(SettingChange)).one()
    page = as_dana.get("/admin/settings/history")
    assert page.text.count("data-change=") == 1
    assert as_dana.post(f"/admin/settings/changes/{row.id}/undo").status_code == 303
    assert "300" in text_of(as_dana.get("/"), "prices")
    assert as_dana.get("/admin/settings/prices.znc").text.count("data-change=") == 2


def test_a_new_rate_is_what_pages_show_and_payments_take(as_dana: Browser, session: Session) -> None:
    session.commit()
    assert save(as_dana, "prices.rub_per_znc", "12.50") == 303
    landing = as_dana.get("/").text
    assert "1 ZNC costs 12.50 ₽." in landing
    assert "225 ₽" in landing
    wallet = as_dana.get("/wallet").text
    assert "1 ZNC costs 12.50 ₽." in wallet
    assert 'data-rate="12.50"' in wallet
    checkout = as_dana.post("/wallet/top-up", amount="18", provider="mock").location
    assert "225.00 ₽" in as_dana.get(checkout).text


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("prices.znc", "24: 18", "Enter one line per duration"),
        ("prices.znc", "24 = 18\n24 = 19", "Enter one line per duration"),
        ("prices.znc", "24 = 18.001", "two decimal places"),
        ("prices.znc", f"{10**12} = 18", "The value is too large."),
        ("prices.znc", "24 = 18\n024 = 5", "Enter one line per duration"),
        ("limits.proxy_at_once", "many", "Enter a whole number."),
        ("limits.proxy_at_once", "0", "The value must be greater than zero."),
        ("sessions.device_policy", "never", "Not a valid choice."),
    ],
)
def test_a_faulty_value_is_refused_with_a_message(
    as_dana: Browser, session: Session, key: str, value: str, said: str
) -> None:
    answer = as_dana.post(f"/admin/settings/{key}", value=value, reason="for a test", seen="0")
    assert answer.status_code == 400
    assert said in text_of(answer, "field-error")
    assert session.scalars(select(SettingChange)).all() == []


def test_a_change_on_top_of_an_unseen_one_is_refused(as_dana: Browser) -> None:
    assert save(as_dana, "limits.proxy_at_once", "5") == 303
    answer = as_dana.post("/admin/settings/limits.proxy_at_once", value="6", reason="for a test", seen="0")
    assert answer.location == "/admin/settings/limits.proxy_at_once"
    assert "Someone else has changed this in the meantime." in as_dana.flashes(answer.location)
    assert save(as_dana, "limits.proxy_at_once", "5", back="1") == 303
    assert as_dana.get("/admin/settings/limits.proxy_at_once").text.count("default from config.toml") == 1


def test_a_price_that_was_not_shown_is_not_charged(
    as_alice: Browser, as_dana: Browser, alice: User, session: Session
) -> None:
    bundle = some_bundle(session)
    session.commit()
    old = attribute_of(as_alice.get("/tokens/buy").text, 'name="shown"')
    old_bundle = attribute_of(as_alice.get(f"/bundles/{bundle.id}").text, 'name="shown"')
    save(as_dana, "prices.znc", "24 = 19\n12 = 10")
    form = {"duration_hours": "24", "scope": "full", "token_id": str(uuid.uuid4()), "shown": old}
    refused = as_alice.post("/tokens/buy", **form)
    assert refused.status_code == 409
    assert "The price has changed: it is now 19.00 ZNC." in text_of(refused, "alert alert-bad")
    assert balance(session, alice) == 100
    dear = as_alice.post(f"/bundles/{bundle.id}", purchase_id=str(uuid.uuid4()), shown=old_bundle)
    assert (dear.status_code, balance(session, alice)) == (409, 100)
    new = attribute_of(refused.text, 'name="shown"')
    assert as_alice.post("/tokens/buy", **{**form, "shown": new}).status_code == 200
    assert balance(session, alice) == 81
    token_id = form["token_id"]
    late = as_alice.post(f"/tokens/{token_id}/extend", hours="24", key=str(uuid.uuid4()), shown=old)
    assert (late.status_code, balance(session, alice)) == (409, 81)


def test_during_maintenance_buyers_can_read_and_admins_can_change(
    as_alice: Browser, as_dana: Browser, anonymous: Browser, alice: User, session: Session
) -> None:
    save(as_dana, "maintenance.words_ru", "Вернёмся в полдень.")
    save(as_dana, "maintenance.on", "true")
    page = as_alice.get("/wallet")
    assert page.status_code == 200
    assert "Purchases and changes are unavailable" in text_of(page, "banner banner-warn")
    refused = as_alice.post("/tokens/buy", duration_hours="24", scope="full", token_id=str(uuid.uuid4()))
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "300")
    assert "Closed for maintenance" in refused.text
    assert balance(session, alice) == 100
    assert anonymous.post("/register", email="eve@example.test").status_code == 503
    anonymous.post("/preferences", lang="ru")
    assert "Вернёмся в полдень." in anonymous.get("/login").text
    assert anonymous.log_in(alice).status_code == 303
    assert as_dana.post(f"/admin/users/{alice.id}/active", active="0").status_code == 303
    assert save(as_dana, "maintenance.on", "false") == 303
    assert "banner-warn" not in as_dana.get("/wallet").text


def test_the_settings_take_few_queries(app: Flask, as_dana: Browser, session: Session) -> None:
    save(as_dana, "limits.proxy_at_once", "5")
    asked: list[str] = []
    event.listen(session.connection(), "before_cursor_execute", lambda *call: asked.append(call[2]))
    as_dana.get("/admin/settings")
    assert len([each for each in asked if "SAVEPOINT" not in each]) <= 12
