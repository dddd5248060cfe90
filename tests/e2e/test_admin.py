"""Admin tasks in both languages, and their effects for a buyer."""

import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.admin_steps import AdminArea, turn_on_two_factor, until
from tests.e2e.conftest import Shop, visitor
from tests.e2e.steps import PASSWORD, ask, balance, buy, log_in, log_out, register_and_log_in, wait_for_status

# The usual run walks these ways in English, and those of accounts in Russian. The long run does both.
SOAK = bool(os.environ.get("ZENZEFI_SOAK"))
LOCALES = {"en": "en-GB", "ru": "ru-RU"}


@pytest.fixture(scope="module", params=LOCALES if SOAK else ["en"])
def area(request: pytest.FixtureRequest, browser: Browser, shop: Shop) -> Iterator[AdminArea]:
    """A new admin, created by the first one, with two-factor login; and a new buyer."""
    language = str(request.param)
    locale, name = LOCALES[language], f"served-{language}"
    with visitor(browser, locale) as admin, visitor(browser, locale) as buyer:
        keeper = register_and_log_in(admin, shop, f"keeper-{language}")
        log_in(buyer, shop, shop.ready["admin_email"], shop.ready["admin_password"])
        buyer.goto(f"{shop.portal}/admin/users?q={keeper}")
        buyer.click(f"main a.row-link:has-text('{keeper}')")
        buyer.click("details.more:has(form[action$='/superuser']) > summary")
        buyer.click("form[action$='/superuser'] button")
        expect(buyer.locator(".flashes .alert-good")).to_be_visible()
        buyer.goto(f"{shop.portal}/dashboard")
        log_out(buyer)
        turn_on_two_factor(admin, shop, keeper)
        yield AdminArea(shop, language, admin, buyer, name, register_and_log_in(buyer, shop, name))


def test_an_admin_finds_a_user_adjusts_the_balance_adds_a_note_and_disables_the_account_for_a_while(
    area: AdminArea,
) -> None:
    admin, buyer, portal = area.admin, area.buyer, area.shop.portal
    expect(admin.locator("html")).to_have_attribute("lang", area.language)
    area.open_buyer()
    person = admin.url
    expect(admin.locator("main")).to_contain_text(area.say("Adjust balance"))
    area.fill("/adjust", amount="20.50", reason="for the trouble")
    expect(admin.locator("main").get_by_test_id("balance")).to_have_attribute("data-amount", "20.50")
    area.fill("/adjust", amount="-100", reason="too much")
    expect(admin.locator(".field-error")).to_be_visible()
    assert balance(buyer, area.shop) == Decimal("20.50")
    expect(buyer.locator("main")).to_contain_text("for the trouble")

    # By name, by the prefix of a token, and by the id of a failed request.
    bought = buy(buyer, area.shop, hours=1, name="found")
    buyer.goto(f"{portal}/tokens/{uuid.uuid4()}")
    failed = buyer.get_by_test_id("request-id").inner_text()
    area.open("/")
    area.find(area.name)
    admin.wait_for_url(person)
    area.find(bought.secret[:8])
    expect(area.row(area.email)).to_contain_text("found")
    area.find(failed)
    expect(admin.get_by_test_id("asked")).to_contain_text("404")
    admin.get_by_test_id("asked").get_by_role("link").click()
    admin.wait_for_url(person)

    area.fill("/notes", text="Calls on Mondays")
    area.expect_said("Note saved.")
    expect(admin.locator("[data-note]")).to_contain_text("Calls on Mondays")
    assert ask(area.shop, "/users/currentUser", bought.secret)[0] == 200
    for said, status in (("The account has been disabled.", 401), ("The account has been enabled.", 200)):
        admin.click("details.more:has(form[action$='/active']) > summary")
        admin.click("form[action$='/active'] button")
        area.expect_said(said)
        wait_for_status(area.shop, bought.secret, status, seconds=3)
        buyer.goto(f"{portal}/wallet")
        # A login that has ended stays so.
        buyer.wait_for_url(re.compile(r"/login\b"))
    log_in(buyer, area.shop, area.email, PASSWORD)

    # All of it stands in the log, which is read by action and saved as a file.
    admin.click("section:has(#p-audit) .card-head a")
    admin.select_option("select[name=action]", "balance.adjusted")
    admin.click("form.filters button")
    expect(area.row("for the trouble")).to_contain_text(area.say("Balance adjusted"))
    head, *rows = area.saved(admin.get_by_role("link", name=area.say("Download CSV")))
    assert {(row[head.index("action")], row[head.index("user")]) for row in rows} == {("balance.adjusted", area.email)}
    admin.select_option("select[name=action]", "")
    admin.click("form.filters button")
    for action in ("user.noted", "user.disabled", "user.enabled", "token.purchased"):
        expect(admin.locator(f"tr[data-action='{action}']").first).to_be_visible()


def test_an_admin_impersonates_a_user_ends_a_session_and_revokes_a_token(area: AdminArea) -> None:
    admin, shop = area.admin, area.shop
    area.give("5")
    person = admin.url
    admin.click("main a[href$='/view-as']")
    area.fill("/view-as", reason="Asked us to look")
    admin.wait_for_url("**/dashboard")
    told = area.say("You are viewing the portal as %(name)s until %(time)s UTC and cannot change anything.")
    expect(admin.get_by_test_id("view-as")).to_contain_text(told.partition("%(time)s")[0] % {"name": area.name})
    admin.goto(f"{shop.portal}/wallet")
    admin.fill("input[name=code]", "ANY-CODE")
    admin.click("form:has(input[name=code]) button")
    expect(admin.locator(".lone-status")).to_have_text("403")
    area.open("/")
    expect(admin.locator(".lone-status")).to_have_text("403")
    admin.goto(f"{shop.portal}/dashboard")
    admin.click("form[action='/view-as/end'] button")
    admin.wait_for_url(person)

    # A download under way ends with its session; the token itself goes on.
    bought = buy(area.buyer, shop, hours=1, name="in use")
    # Slow enough to be under way, fast enough to empty the sockets' buffers, after which its end is seen.
    slow = ["curl", "-s", "-o", os.devnull, "--limit-rate", "8M", "--max-time", "20"]
    header = f"X-Access-Token: {bought.secret}"
    with subprocess.Popen([*slow, "-H", header, f"{shop.proxy}/files/big.bin"]) as download:
        area.open("/sessions?open=1")
        session = area.row(bought.secret[:8])
        until(admin, lambda: session.count() == 1)
        assert download.poll() is None
        session.get_by_role("button", name=area.say("End session")).click()
        area.expect_said("The session has ended. Its open transfers stop within a second.")
        assert download.wait(timeout=5) not in {0, 28}  # 28: its own time was over
    assert ask(shop, "/users/currentUser", bought.secret)[0] == 200

    # Its flows are shown for a while.
    area.open("/tokens")
    admin.fill("input#q", bought.secret[:8])
    admin.click("form.filters button")
    expect(admin.locator("main tbody tr")).to_have_count(1)
    area.row("in use").get_by_role("link", name=area.say("Start inspection")).click()
    expect(admin.locator("input[name=name]")).to_have_value(bought.secret[:8])
    area.fill("/inspections", reason="Reported as slow")
    area.expect_said("The inspection is active and ends automatically.")
    shown = area.row(bought.secret[:8])
    expect(shown).to_contain_text(area.say("active"))
    shown.get_by_role("button").click()
    area.expect_said("The inspection has ended.")
    expect(area.row(bought.secret[:8])).to_contain_text(area.say("finished"))

    area.open(f"/tokens?q={bought.secret[:8]}")
    area.row("in use").get_by_role("link", name=area.say("Revoke"), exact=True).click()
    area.fill("/end", reason="It was passed around")
    area.expect_said("Token revoked; its owner is notified of the reason.")
    assert wait_for_status(shop, bought.secret, 401, seconds=3) < 1
    area.buyer.goto(bought.url)
    expect(area.buyer.locator("main [data-state]").first).to_have_attribute("data-state", "revoked")

    # The user is notified of both, in their language.
    mailed, deadline = (
        f"mail: To {area.email}: {area.say('An admin is viewing your account')}",
        time.monotonic() + 25,
    )
    while mailed not in shop.output.read_text() or "It was passed around" not in shop.output.read_text():
        assert time.monotonic() < deadline, shop.output.read_text()
        time.sleep(0.2)


def test_an_admin_settles_a_payment_without_a_callback_and_refunds_it(area: AdminArea) -> None:
    admin, buyer, shop = area.admin, area.buyer, area.shop
    before = balance(buyer, shop)
    with shop.suspended_jobs():
        buyer.fill("form[action='/wallet/top-up'] input[name=amount]", "7")
        buyer.click("form[action='/wallet/top-up'] .actions button")
        buyer.click("button[name=outcome][value=pay]")
        expect(buyer.locator("#payment")).to_have_attribute("data-status", "pending")
        area.open("/")
        area.find(buyer.url.partition("?")[0].rpartition("/")[2])
        admin.click("form[action$='/ask'] button")
        area.expect_said("The provider's answer has been processed.")
        expect(admin.locator("h1 [data-status]")).to_have_attribute("data-status", "succeeded")
    expect(buyer.locator("#payment")).to_have_attribute("data-status", "succeeded")
    assert balance(buyer, shop) == before + 7

    area.fill("/refund", reason="Paid twice")
    area.expect_said("The refund has been recorded and sent to the provider.")
    until(admin, lambda: admin.locator("[data-reversal] [data-state=done]").count() == 1, seconds=30)
    expect(admin.locator("h1 [data-status]")).to_have_attribute("data-status", "refunded")
    assert balance(buyer, shop) == before


def test_a_buyer_uses_a_coupon_and_a_gift_code_created_by_an_admin(area: AdminArea) -> None:
    admin, buyer, shop = area.admin, area.buyer, area.shop
    area.give("10")
    before, coupon = balance(buyer, shop), f"HALF-{area.language.upper()}"
    area.open("/offers")
    admin.click("a[href$='/coupons/new']")
    area.fill("/coupons/new", code=coupon, percent="50")
    area.expect_said("Coupon created.")
    buyer.goto(f"{shop.portal}/tokens/buy?duration_hours=1")
    buyer.fill("input[name=coupon]", coupon)
    buyer.click("form[data-buy] button.button-main")
    buyer.click("a[data-saved]")
    expect(buyer.locator("[data-saved]")).to_have_count(0)
    buyer.wait_for_url(re.compile(r"/tokens/[0-9a-f-]{36}$"))
    assert balance(buyer, shop) == before - Decimal("0.50")
    area.open("/offers")
    expect(area.row(coupon).locator("[data-count]")).to_have_attribute("data-count", "1")

    admin.click("a[href$='/gifts/new']")
    for name, value in {"amount": "2.25", "count": "3", "note": f"fair {area.language}"}.items():
        admin.fill(f"main [name={name}]", value)
    head, *codes = area.saved(admin.locator("main button[name=as]"))
    assert head == ["code", "amount_znc"]
    assert {Decimal(amount) for _code, amount in codes} == {Decimal("2.25")}
    assert len({code for code, _amount in codes}) == 3
    buyer.fill("input[name=code]", codes[0][0])
    buyer.click("form:has(input[name=code]) button")
    expect(buyer.locator(".flashes .alert-good")).to_be_visible()
    assert balance(buyer, shop) == before + Decimal("1.75")
    area.open("/offers")
    expect(area.row(f"fair {area.language}").filter(has_text="1 / 1")).to_have_count(1)


def test_a_user_reads_an_announcement_in_their_language_and_pays_the_changed_price(area: AdminArea) -> None:
    admin, buyer, shop = area.admin, area.buyer, area.shop
    area.open("/announcements")
    words = {"en": f"Away on Friday {area.language}", "ru": f"Закрыто по пятницам {area.language}"}
    area.fill("/announcements", words_en=words["en"], words_ru=words["ru"])
    area.expect_said("The announcement has been published.")
    buyer.goto(f"{shop.portal}/dashboard")
    notice = buyer.get_by_test_id("announcement")
    until(buyer, lambda: notice.count() == 1)
    expect(notice).to_contain_text(words[area.language])
    notice.get_by_role("button").click()
    expect(notice).to_have_count(0)
    area.row(words["en"]).get_by_role("button").click()
    area.expect_said("The announcement has been withdrawn.")

    # A price holds from now on, and is as it was before once that is undone.
    day = "input[name=duration_hours][value='24'][data-price='{}']"
    buyer.goto(f"{shop.portal}/tokens/buy")
    expect(buyer.locator(day.format("18.00"))).to_have_count(1)
    area.open("/settings")
    admin.click("tr[data-setting='prices.znc'] a")
    prices = re.sub(r"(?m)^24 = .*$", "24 = 17", admin.input_value("textarea[name=value]"))
    area.fill("/prices.znc", value=prices, reason="a day is cheap")
    area.expect_said("Saved. Portal, jobs and all proxy workers apply it within two seconds.")
    until(buyer, lambda: buyer.locator(day.format("17.00")).count() == 1)
    area.row("a day is cheap").first.get_by_role("button").click()
    until(buyer, lambda: buyer.locator(day.format("18.00")).count() == 1)
    admin.click("section:has(#changes-title) .card-head a")
    expect(area.row("a day is cheap").first).to_contain_text(f"keeper-{area.language}")
    head, *rows = area.saved(admin.get_by_role("link", name=area.say("Download CSV")))
    assert [row[head.index("reason")] for row in rows[:2]] == [area.say("Reverted"), "a day is cheap"]


def test_every_admin_list_can_be_downloaded_and_the_jobs_page_shows_runs(area: AdminArea) -> None:
    for path in ("/users", "/tokens", "/sessions", "/payments", "/announcements", "/inspections"):
        area.open(path)
        head, *_rows = area.saved(area.admin.get_by_role("link", name=area.say("Download CSV")))
        assert "id" in head
    area.open("/jobs")
    expect(area.admin.locator("h1")).to_have_text(area.say("Jobs"))
    expect(area.admin.locator("main .figures")).to_contain_text(area.say("running"))
