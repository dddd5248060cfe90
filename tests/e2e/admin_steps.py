"""Steps in the admin area, with an admin's and a buyer's browser."""

import csv
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyotp
from playwright.sync_api import Locator, Page, expect

from models.translations import catalogue
from tests.e2e.conftest import Shop
from tests.e2e.steps import PASSWORD, log_out


@dataclass(frozen=True)
class AdminArea:
    """Browsers of an admin and a buyer, both in one language."""

    shop: Shop
    language: str
    admin: Page
    buyer: Page
    name: str
    email: str

    def say(self, words: str) -> str:
        """Return a message of the portal in their language."""
        return catalogue(self.language).gettext(words)

    def open(self, path: str) -> None:
        self.admin.goto(f"{self.shop.portal}/admin{path}")

    def find(self, words: str) -> None:
        """Use the search box of the admin area."""
        self.admin.fill("input#find", words)
        with self.admin.expect_navigation():
            self.admin.press("input#find", "Enter")

    def open_buyer(self) -> None:
        self.open("/")
        self.find(self.email)
        expect(self.admin.locator("h1")).to_contain_text(self.email)

    def fill(self, action: str, **fields: str) -> None:
        """Fill in and submit the form whose action ends with an address."""
        for name, value in fields.items():
            self.admin.fill(f"form.form[action$='{action}'] [name={name}]", value)
        self.admin.click(f"form.form[action$='{action}'] .actions button >> nth=0")

    def expect_said(self, words: str) -> None:
        expect(self.admin.locator(".flashes")).to_contain_text(self.say(words))

    def give(self, amount: str) -> None:
        """Credit the buyer."""
        self.open_buyer()
        self.fill("/adjust", amount=amount, reason="to go on with")
        expect(self.admin.locator(".flashes .alert-good")).to_be_visible()

    def row(self, words: str) -> Locator:
        return self.admin.locator("main tbody tr", has_text=words)

    def saved(self, button: Locator) -> list[list[str]]:
        """Download a CSV file and return its rows."""
        with self.admin.expect_download() as download:
            button.click()
        assert re.fullmatch(r"zenzefi-[a-z-]+-\d{4}-\d\d-\d\d\.csv", download.value.suggested_filename)
        with download.value.path().open(encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))


def until(page: Page, is_so: Callable[[], bool], seconds: float = 15) -> None:
    """Reload a page until it contains a text."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, page.locator("main").inner_text()
        time.sleep(0.2)
        page.reload()


def turn_on_two_factor(page: Page, shop: Shop, email: str) -> None:
    """Set up an authenticator app and log in with its next code."""
    page.goto(f"{shop.portal}/profile/two-factor")
    page.fill("input[name=current_password]", PASSWORD)
    page.click("form[action$='/begin'] button")
    app = pyotp.TOTP(page.get_by_test_id("totp-secret").inner_text().replace(" ", ""))
    page.fill("input[name=code]", app.now())
    page.click("form[action$='/setup'] button")
    expect(page.locator("input[name=code]")).to_have_count(0)
    page.goto(f"{shop.portal}/dashboard")
    log_out(page)
    page.goto(f"{shop.portal}/login?next=/admin/")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main form button")
    page.wait_for_url(re.compile(r"/login/code\b"))
    # No code passes twice; a clock that is half a minute ahead does.
    page.fill("input[name=code]", app.at(int(time.time()) + 30))
    page.click("main form button")
    page.wait_for_url("**/admin/")
