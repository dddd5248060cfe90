"""Pages that need an interaction: secrets, form errors, dialogs, menus, empty lists, refusals, maintenance."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from playwright.sync_api import Page

from addon.browser_access import pages
from addon.http1.decisions import Refuse
from addon.http1.pages import refusal_pages
from ops.dev.screenshots.actors import PASSWORD, TWO_FACTOR_USER, SampleShop
from ops.dev.screenshots.pages import PageVisit

type Act = Callable[[Page], None]
NONSENSE = "no-such-thing"
EXPIRED = Refuse(401, "token_expired", "The access token has expired.")
# Pages that differ with a mail server.
WITH_MAIL = ("/register", "/forgot-password", "/forgot-password?sent=1", "/confirm-again", "/confirm-again?sent=1")
EMPTY_PAGES = (
    "/dashboard",
    "/tokens",
    "/wallet",
    "/usage",
    "/webhooks",
    "/profile/keys",
    "/invite",
    "/wallet/statements",
)
SEARCHED = ("users?q=", "tokens?q=", "payments?provider=", "audit?resource=")


def interaction_visits(shop: SampleShop) -> list[PageVisit]:
    """Return all visits; those that change the data come last."""
    found = (
        *_buyer_pages(shop),
        *_mistakes(shop),
        *_newcomers(),
        *_signed_out(shop),
        *_admin_area(shop),
        *_maintenance(),
    )
    return [replace(place, act=place.act or _no_action) for place in found]


def _buyer_pages(shop: SampleShop) -> Iterator[PageVisit]:
    running, ready = shop.ids["token_id"][0][1], shop.ids["token_id"][1][1]
    yield PageVisit("scene-secret", "/tokens/buy", "buyer", _send(duration_hours="1"))
    yield PageVisit("scene-coupon", "/tokens/buy", "buyer", _send("[name=quote]", coupon="WELCOME5"))
    yield PageVisit("scene-secret-replaced", f"/tokens/{ready}/secret", "buyer", _send())
    yield PageVisit("scene-revoke-dialog", f"/tokens/{running}", "buyer", _open("[data-dialog=revoke]"))
    yield PageVisit("scene-account-menu", "/tokens", "buyer", _open(".menu:has(.avatar) > summary"))
    yield PageVisit("scene-landing-of-a-buyer", "/", "buyer")
    yield PageVisit("scene-tried", f"/tokens/{running}/try?method=GET&path=/certificates/filter", "buyer")
    yield PageVisit("scene-receipt-printed", f"/wallet/receipts/{shop.ids['transfer_id'][0][1]}", "buyer", _print)
    yield PageVisit("scene-statement-printed", f"/wallet/statements/{shop.ids['month'][0][1]}", "buyer", _print)


def _mistakes(shop: SampleShop) -> Iterator[PageVisit]:
    bundle, alice = shop.ids["bundle_id"][0][1], shop.ids["user_id"][0][1]
    for name, path, fields in (
        ("coupon", "/tokens/buy", {"coupon": NONSENSE}),
        ("bundle", f"/bundles/{bundle}", {"coupon": NONSENSE}),
        ("top-up", "/wallet", {"amount": "1,5,0"}),
        ("password", "/profile", {"current_password": "not mine", "new_password": "short", "repeated": "x"}),
        ("webhook", "/webhooks", {"url": "ftp://example.org"}),
        ("gift", "/wallet", {"code": NONSENSE}),
        ("two-factor", "/profile/two-factor", {"current_password": "not mine"}),
        ("try", f"/tokens/{shop.ids['token_id'][0][1]}/try?method=GET&path=certificates/../x", {}),
    ):
        # The path tester is a GET form.
        status = 200 if name == "try" else 400
        yield PageVisit(f"mistake-{name}", path, "buyer", _send(**fields) if fields else None, status)
    for name, path, fields in (
        ("balance", f"/admin/users/{alice}", {"amount": "a lot", "reason": ""}),
        ("announcement", "/admin/announcements", {"words_en": "", "words_ru": "ok"}),
        ("coupon", "/admin/coupons/new", {"code": "SPRING", "percent": "10", "amount": "5"}),
        ("gifts", "/admin/gifts/new", {"amount": "-1", "note": ""}),
        ("bundle", "/admin/bundles/new", {"name": "", "discount_percent": "101"}),
        ("setting", "/admin/settings/maintenance.on", {"reason": ""}),
    ):
        yield PageVisit(f"mistake-admin-{name}", path, "admin", _send(**fields), 400)
    yield PageVisit("mistake-register", "/register", "visitor", _send(email="alice", username="a"), 400)
    yield PageVisit("mistake-login", "/login", "visitor", _send(email="nobody@example.org", password=NONSENSE), 401)
    yield PageVisit("scene-short-of-money", "/tokens/buy", "newcomer", _send(duration_hours="24"), 402)
    yield PageVisit("error-404", "/nothing/here", "visitor", None, 404)
    yield PageVisit("error-403", "/admin/", "buyer", None, 403)


def _newcomers() -> Iterator[PageVisit]:
    for path in EMPTY_PAGES:
        yield PageVisit(f"empty{path.replace('/', '-')}", path, "newcomer")
    yield PageVisit("scene-two-factor-setup", "/profile/two-factor", "newcomer", _send(current_password=PASSWORD))
    yield PageVisit("scene-api-key", "/profile/keys", "newcomer", _send(name="Nightly job"))
    yield PageVisit("scene-webhook-secret", "/webhooks", "newcomer", _send(url="https://hooks.example.org/zenzefi"))


def _signed_out(shop: SampleShop) -> Iterator[PageVisit]:
    """Yield signed-out pages: mail links, the second factor, and the pages of the gateway."""
    yield PageVisit("scene-theme-menu", "/", "visitor", _open(".menu > summary"))
    yield PageVisit("scene-reset-password", f"/links/{shop.ids['secret'][0][1]}", "visitor")
    yield PageVisit("mistake-reset", f"/links/{shop.ids['secret'][0][1]}", "visitor", _send(new_password=""), 400)
    yield PageVisit("error-link-expired", f"/links/{NONSENSE}", "visitor", None, 410)
    yield PageVisit("scene-login-code", "/login", "visitor", _send(email=TWO_FACTOR_USER, password=PASSWORD))
    yield PageVisit("scene-two-factor-on", "/profile/two-factor", "guarded")
    yield PageVisit("scene-recovery-codes", "/profile/two-factor", "guarded", _renew_codes(shop))
    for path in WITH_MAIL:
        name = "mailed" + re.sub(r"\W+", "-", path)
        yield PageVisit(name, path, "visitor", portal="mailing")
    yield PageVisit("mailed-confirm-email", f"/links/{shop.ids['secret'][1][1]}", "visitor", portal="mailing")
    yield PageVisit("mailed-finish-login", f"/links/{shop.ids['secret'][2][1]}", "visitor", portal="mailing")
    yield PageVisit("mailed-profile-email", "/profile/email", "buyer", portal="mailing")
    for name, draw in (
        ("ask", lambda language: pages.confirmation_page("ticket", "fPOzx1H6", language)),
        ("over", lambda language: pages.expired_page("", "7d1f0c2e", language)),
        ("refused", lambda language: refusal_pages.render(EXPIRED, "7d1f0c2e", "", language)),
    ):
        yield PageVisit(f"gateway-{name}", "/robots.txt", "visitor", _draw(draw))
    for path in ("/docs", "/redoc"):
        yield PageVisit(f"reader-{path[1:]}", path, "visitor", _wait_for_network, ours=False)


def _admin_area(shop: SampleShop) -> Iterator[PageVisit]:
    for query in SEARCHED:
        yield PageVisit(f"empty-admin-{re.sub(r'[^a-z].*', '', query)}", f"/admin/{query}{NONSENSE}", "admin")
    alice = shop.ids["user_id"][0][1]
    yield PageVisit("scene-admin-shortcuts-dialog", "/admin/", "admin", lambda page: page.keyboard.press("?"))
    yield PageVisit("scene-admin-menu", "/admin/", "admin", _open(".menu > summary"))
    yield PageVisit("scene-bulk", "/admin/users", "admin", _choose_two)
    yield PageVisit("scene-viewed", f"/admin/users/{alice}/view-as", "viewer", _start_impersonation)


def _maintenance() -> Iterator[PageVisit]:
    yield PageVisit("closed-landing", "/", "visitor", portal="closed")
    yield PageVisit("closed-dashboard", "/dashboard", "buyer", portal="closed")
    yield PageVisit("closed-refusal", "/tokens/buy", "buyer", _send(duration_hours="1"), 503, "closed")
    yield PageVisit("scene-announcement", "/dashboard", "newcomer", _show_announcement)


def _send(press: str = "", **fields: str) -> Act:
    """Fill in the form with these fields, and press a button, by default the main one.

    Without fields it is the first form with a main button.
    """

    def act(page: Page) -> None:
        form = page.locator("main form:has(.button-main)")
        if fields:
            form = page.locator("main form").filter(has=page.locator(f"[name={next(iter(fields))}]"))
        form = form.first
        for name, value in fields.items():
            field = form.locator(f"[name={name}]").first
            if field.get_attribute("type") == "radio":
                form.locator(f"[name={name}][value='{value}']").check(force=True)
            else:
                field.fill(value)
        button = form.locator(press or "button.button-main")
        with page.expect_navigation():
            (button if button.count() else form.locator("button:not([type=button])")).first.click()

    return act


def _no_action(_page: Page) -> None:
    """Do nothing; the visit is a page even when it redirects."""


def _wait_for_network(page: Page) -> None:
    page.wait_for_load_state("networkidle")


def _open(selector: str) -> Act:
    return lambda page: page.locator(selector).first.click()


def _print(page: Page) -> None:
    page.emulate_media(media="print")


def _renew_codes(shop: SampleShop) -> Act:
    def act(page: Page) -> None:
        form = page.locator("form[action$='/codes']")
        form.locator("[name=current_password]").fill(PASSWORD)
        form.locator("[name=code]").fill(shop.codes.pop())
        with page.expect_navigation():
            form.locator(".button-main").click()
        shop.codes[:] = page.locator("#codes").inner_text().split()

    return act


def _draw(draw: Callable[[str], bytes]) -> Act:
    return lambda page: page.set_content(draw(page.evaluate("navigator.language")).decode())


def _choose_two(page: Page) -> None:
    for number in (1, 2):
        page.locator("tbody input[type=checkbox]").nth(number).check()
    with page.expect_navigation():
        page.locator("main button", has_text=re.compile("Disable|Закрыть|Отключить|Заблокировать")).first.click()


def _start_impersonation(page: Page) -> None:
    """Start an impersonation, unless this login has one already: the admin area is then closed to it."""
    if page.locator("main [name=reason]").count():
        _send(reason="Asked for help on the phone")(page)
    else:
        page.goto(page.url.partition("/admin")[0] + "/dashboard")


def _show_announcement(page: Page) -> None:
    page.context.clear_cookies(name="seen")
    page.reload()
