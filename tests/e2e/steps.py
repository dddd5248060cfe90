"""Steps of a user in the portal."""

import re
import subprocess
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Shop

PASSWORD = "a long enough password"


@dataclass(frozen=True)
class Bought:
    """A token on the page that shows its secret."""

    secret: str
    curl: str
    url: str


def log_in(page: Page, shop: Shop, email: str, password: str) -> None:
    page.goto(f"{shop.portal}/login")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.click("main form button")
    page.wait_for_url(re.compile(r"/(dashboard|admin)"))


def log_out(page: Page) -> None:
    page.click("details.menu:has(form[action='/logout']) > summary")
    page.click("form[action='/logout'] button")
    expect(page.locator("form[action='/logout']")).to_have_count(0)


def register(page: Page, shop: Shop, name: str) -> str:
    """Create an account and return its e-mail address."""
    email = f"{name}@example.test"
    page.goto(f"{shop.portal}/register")
    page.fill("input[name=email]", email)
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("main form button")
    page.wait_for_url("**/login*")
    return email


def register_and_log_in(page: Page, shop: Shop, name: str) -> str:
    """Create an account and return its e-mail address."""
    email = register(page, shop, name)
    log_in(page, shop, email, PASSWORD)
    return email


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the selected element has the focus."""
    for _press in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never reached {selector}")


def balance(page: Page, shop: Shop) -> Decimal:
    page.goto(f"{shop.portal}/wallet")
    shown = page.get_by_test_id("balance").first.get_attribute("data-amount")
    return Decimal(shown or "NaN")


def top_up(page: Page, shop: Shop, amount: str, outcome: str = "pay") -> None:
    """Pay on the mock provider's checkout page and wait until the payment is decided."""
    page.goto(f"{shop.portal}/wallet")
    page.fill("form[action='/wallet/top-up'] input[name=amount]", amount)
    page.click("form[action='/wallet/top-up'] .actions button")
    page.wait_for_url("**/mock-checkout/*")
    page.click(f"button[name=outcome][value={outcome}]")
    page.wait_for_url("**/wallet/payments/*")
    wanted = "succeeded" if outcome == "pay" else "canceled"
    expect(page.locator("#payment")).to_have_attribute("data-status", wanted, timeout=20_000)


def buy(page: Page, shop: Shop, *, hours: int = 24, scope: str = "full", name: str = "") -> Bought:
    page.goto(f"{shop.portal}/tokens/buy")
    page.check(f"input[name=duration_hours][value='{hours}']", force=True)
    page.check(f"input[name=scope][value='{scope}']", force=True)
    page.fill("input[name=name]", name)
    page.click("form[data-buy] button.button-main")
    secret = page.get_by_test_id("secret").inner_text().strip()
    curl = page.get_by_test_id("curl").inner_text().strip()
    page.click("a[data-saved]")
    expect(page.locator("[data-saved]")).to_have_count(0)
    page.wait_for_url(re.compile(r"/tokens/[0-9a-f-]{36}$"))
    return Bought(secret, curl, page.url)


def curl(*arguments: str, timeout: float = 60) -> tuple[int, bytes]:
    """Run curl and return the HTTP status and the body."""
    done = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", *arguments], capture_output=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, done.stderr.decode()
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def ask(shop: Shop, path: str, secret: str | None, *arguments: str) -> tuple[int, bytes]:
    """Send a request through the proxy, with a token or without."""
    header = ("-H", f"X-Access-Token: {secret}") if secret else ()
    return curl(*header, *arguments, f"{shop.proxy}{path}")


def wait_for_status(shop: Shop, secret: str, wanted: int, seconds: float) -> float:
    """Send requests until the proxy responds with `wanted`; returns the duration."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        status, _ = ask(shop, "/users/currentUser", secret)
        if status == wanted:
            return time.monotonic() - begun
        time.sleep(0.05)
    raise AssertionError(f"the proxy never answered {wanted}")


def resident_kib(pid: int) -> int:
    """Return a process's resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]  # Linux always says it
