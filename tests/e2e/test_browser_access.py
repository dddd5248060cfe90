"""Browser access: a button in the portal opens the upstream's pages in the browser."""

import json
import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.e2e.conftest import Shop
from tests.e2e.steps import ask, buy, register_and_log_in, top_up


def open_in_browser(page: Page) -> Page:
    """Press "Open in browser" on a token's page and return the new tab."""
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Open in browser").click()
    tab = opened.value
    tab.wait_for_load_state()
    return tab


def access_cookie(context: BrowserContext) -> dict[str, object]:
    [cookie] = [dict(cookie) for cookie in context.cookies() if cookie["name"] == "zenzefi_access"]
    return cookie


def test_a_buyer_opens_the_upstreams_pages_in_the_browser(page: Page, shop: Shop) -> None:
    register_and_log_in(page, shop, "browsing")
    top_up(page, shop, "20")
    bought = buy(page, shop, hours=1, name="for the browser")
    sent: list[Request] = []
    page.context.on("request", lambda request: sent.append(request))  # noqa: PLW0108 - Playwright needs a function
    blocked: list[str] = []
    page.context.on(
        "console", lambda message: blocked.append(message.text) if "Content Security" in message.text else None
    )

    tab = open_in_browser(page)
    assert tab.url.startswith(f"{shop.proxy}/_zenzefi/enter?ticket=")
    expect(tab.get_by_role("heading")).to_have_text("Open in this browser?")
    expect(tab.locator("main")).to_contain_text(bought.secret[:8])
    assert tab.evaluate("getComputedStyle(document.querySelector('button')).borderRadius") == "8px"
    # Looking starts nothing.
    assert json.loads(ask(shop, "/_zenzefi/status", bought.secret)[1])["status"] == "ready"
    link = tab.url
    tab.get_by_role("button", name="Open").click()
    tab.wait_for_url(f"{shop.proxy}/")
    expect(tab.get_by_role("heading")).to_have_text("Sample upstream")

    # The upstream's own links work, and it sees neither the token nor the cookie.
    cookie = access_cookie(page.context)
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}", str(cookie["value"]))
    assert cookie["value"] != bought.secret
    assert tab.evaluate("document.cookie") == ""
    tab.get_by_role("link", name="/echo").click()
    tab.wait_for_url(f"{shop.proxy}/echo")
    echoed = tab.locator("body").inner_text()
    assert json.loads(echoed)["path"] == "/echo"
    for secret in (str(cookie["value"]), bought.secret, link.partition("=")[2]):
        assert secret not in echoed
    assert "zenzefi_access" not in echoed

    # The ticket left no trace in a Referer, and is worth nothing any more.
    assert [request.url for request in sent if "ticket=" in request.headers.get("referer", "")] == []
    assert {urlsplit(request.url).netloc for request in sent} == {
        urlsplit(shop.portal).netloc,
        urlsplit(shop.proxy).netloc,
    }
    tab.goto(link)
    expect(tab.get_by_role("heading")).to_have_text("This link has expired")
    assert blocked == []

    # Coming in again is no second device; and the portal shows the browser's session.
    again = open_in_browser(page)
    again.get_by_role("button", name="Open").click()
    again.wait_for_url(f"{shop.proxy}/")
    expect(again.get_by_role("heading")).to_have_text("Sample upstream")
    assert access_cookie(page.context)["value"] != cookie["value"]

    # Revoked is revoked: the browser is out.
    page.goto(f"{bought.url}/revoke")
    page.click("main form button")
    page.wait_for_url(bought.url)
    expect(page.get_by_role("button", name="Open in browser")).to_have_count(0)
    again.reload()
    expect(again.locator("body")).to_contain_text("The access token was revoked.")
