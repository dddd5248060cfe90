"""Buying in both languages, with and without scripts, and by keyboard."""

import os
import re
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Shop
from tests.e2e.steps import ask, balance, buy, log_in, register_and_log_in, top_up

LOCALES = {"en": "en-GB", "ru": "ru-RU"}


# Both languages, with scripts and without; the long run does the other two pairs as well.
PAIRS = [("en", True), ("ru", False), *([("en", False), ("ru", True)] if os.environ.get("ZENZEFI_SOAK") else [])]


@pytest.mark.parametrize(("language", "scripts"), PAIRS)
def test_a_buyer_without_balance_tops_up_returns_buys_and_is_refunded(
    browser: Browser, shop: Shop, language: str, scripts: bool
) -> None:
    context = browser.new_context(locale=LOCALES[language], java_script_enabled=scripts)
    page = context.new_page()
    page.set_default_timeout(15_000)
    register_and_log_in(page, shop, f"short-{language}-{scripts}".lower())

    page.goto(f"{shop.portal}/tokens/buy?duration_hours=24&name=travel")
    expect(page.locator("html")).to_have_attribute("lang", language)
    page.click("form[data-buy] button.button-main")
    page.get_by_test_id("top-up-link").click()
    expect(page.locator("input[name=amount]")).to_have_value("18,00" if language == "ru" else "18.00")
    page.click("form[action='/wallet/top-up'] .actions button")
    page.click("button[name=outcome][value=pay]")
    expect(page.locator("#payment")).to_have_attribute("data-status", "succeeded", timeout=30_000)

    page.click("main a.button-main")
    expect(page.locator("input[name=name]")).to_have_value("travel")
    expect(page.locator("input[value='24']")).to_be_checked()
    page.click("form[data-buy] button.button-main")
    secret = page.get_by_test_id("secret").inner_text().strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}", secret)
    assert secret in page.get_by_test_id("curl").inner_text()
    page.click("a[data-saved]")
    expect(page.locator("[data-saved]")).to_have_count(0)
    page.wait_for_url(re.compile(r"/tokens/[0-9a-f-]{36}$"))
    assert secret not in page.content()

    page.click("a[data-dialog=revoke]")
    place = page.locator("dialog[open]" if scripts else "main")
    expect(place.get_by_test_id("refund").first).to_have_attribute("data-amount", "18.00")
    place.locator("form[action$='/revoke'] button").click()
    page.wait_for_url(re.compile(r"/tokens/[0-9a-f-]{36}$"))
    expect(page.get_by_test_id("refunded")).to_have_attribute("data-amount", "18.00")
    assert balance(page, shop) == Decimal(18)
    context.close()


def test_leaving_a_secret_that_was_not_copied_warns_once(page: Page, shop: Shop) -> None:
    register_and_log_in(page, shop, "hasty")
    top_up(page, shop, "1")
    page.goto(f"{shop.portal}/tokens/buy?duration_hours=1")
    page.click("form[data-buy] button.button-main")
    expect(page.locator("[data-unsaved]")).to_be_hidden()
    page.click(".mainnav a >> nth=0")
    expect(page.locator("[data-unsaved]")).to_be_visible()
    expect(page.locator("[data-copy=secret]")).to_be_focused()
    page.click("[data-copy=secret]")
    expect(page.locator("[data-unsaved]")).to_be_hidden()
    page.click(".mainnav a >> nth=0")
    page.wait_for_url("**/dashboard")


def test_a_token_page_reloads_the_tokens_state_at_expiry(page: Page, shop: Shop) -> None:
    register_and_log_in(page, shop, "patient")
    top_up(page, shop, "1")
    bought = buy(page, shop, hours=1)
    ask(shop, "/users/currentUser", bought.secret)
    page.clock.install()
    page.goto(bought.url)
    expect(page.locator("[data-countdown]").first).to_be_visible()
    page.evaluate("document.documentElement.dataset.old = '1'")
    page.focus("input[name=name]")
    page.clock.fast_forward("01:00:05")
    expect(page.locator("[data-countdown]").first).to_contain_text("0 seconds")
    expect(page.locator("html[data-old]")).to_have_count(1)
    page.locator("input[name=name]").blur()
    page.clock.run_for(1000)
    expect(page.locator("html[data-old]")).to_have_count(0)


def test_the_client_snippets_are_tabs_with_arrow_key_navigation(page: Page, shop: Shop) -> None:
    register_and_log_in(page, shop, "arrows")
    top_up(page, shop, "1")
    page.goto(f"{shop.portal}/tokens/buy?duration_hours=1")
    page.click("form[data-buy] button.button-main")
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.get_by_test_id("python")).to_be_visible()
    expect(page.get_by_test_id("curl")).to_be_hidden()
    page.click("a[data-saved]")


def test_the_refund_in_the_open_dialog_decreases_and_is_what_is_paid(page: Page, shop: Shop) -> None:
    register_and_log_in(page, shop, "preview")
    top_up(page, shop, "1")
    bought = buy(page, shop, hours=1)
    page.request.get(f"{shop.proxy}/users/currentUser", headers={"X-Access-Token": bought.secret})
    page.clock.install()
    page.goto(bought.url)
    page.click("a[data-dialog=revoke]")
    refund = page.locator("dialog[open]").get_by_test_id("refund")
    before = Decimal(refund.get_attribute("data-amount") or "NaN")
    # One ZNC for an hour: a cent every 36 seconds.
    page.clock.fast_forward(36_000)
    expect(refund).to_have_attribute("data-amount", str(before - Decimal("0.01")))
    page.locator("dialog[open] form[action$='/revoke'] button").click()
    paid = Decimal(page.get_by_test_id("refunded").get_attribute("data-amount") or "NaN")
    assert before - Decimal("0.02") <= paid <= before


def test_language_and_theme_are_kept_with_the_page(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.portal}/login?next=/wallet")
    page.click(".menu > summary")
    page.click("button[name=lang][value=ru]")
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    assert page.url.endswith("/login?next=/wallet")
    page.click(".menu > summary")
    page.click("button[name=theme][value=dark]")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_an_admin_navigates_the_admin_area_by_keyboard(page: Page, shop: Shop) -> None:
    log_in(page, shop, shop.ready["admin_email"], shop.ready["admin_password"])
    page.goto(f"{shop.portal}/admin/")
    page.keyboard.press("g")
    page.keyboard.press("u")
    page.wait_for_url("**/admin/users")
    page.keyboard.press("/")
    expect(page.locator("input[type=search]").first).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()


def test_a_payment_fits_a_narrow_screen_in_russian(browser: Browser, shop: Shop) -> None:
    context = browser.new_context(locale="ru-RU", viewport={"width": 390, "height": 844})
    page = context.new_page()
    register_and_log_in(page, shop, "narrow")
    top_up(page, shop, "500")
    # Nothing of it sticks out of its sheet, either.
    widths = "sheet => [sheet.scrollWidth, sheet.clientWidth, document.documentElement.scrollWidth, innerWidth]"
    inner, sheet, whole, window = page.locator("#payment").evaluate(widths)
    assert (inner, whole) == (sheet, window)
    context.close()


def test_live_traffic_redirects_to_the_login_page_when_the_login_has_ended(page: Page, shop: Shop) -> None:
    register_and_log_in(page, shop, "watching")
    top_up(page, shop, "1")
    bought = buy(page, shop, hours=1)
    page.goto(f"{bought.url}/traffic")
    page.context.clear_cookies()
    page.wait_for_url(re.compile(r"/login\?next="))
