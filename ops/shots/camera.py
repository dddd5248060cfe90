"""Chromium, driven by Playwright: it visits places as somebody, makes pictures, and says what it stumbles over."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ops.console import Failure
from ops.shots.making import ADMIN, BUYER, NEWCOMER, PASSWORD
from ops.shots.places import Place, Role

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"wide": 1280, "390": 390}
PEOPLE: dict[Role, str] = {"buyer": BUYER, "newcomer": NEWCOMER, "admin": ADMIN}
# What reaches past the right edge of the window, deepest first; what is clipped on purpose does not count.
OVERFLOW = """() => {
  const edge = document.documentElement.clientWidth;
  const by = document.documentElement.scrollWidth - edge;
  if (by <= 0) return null;
  const out = [...document.querySelectorAll("main *, header *, nav *, footer *")]
    .filter((one) => one.getBoundingClientRect().right > edge + 1 && getComputedStyle(one).position !== "absolute");
  const last = out[out.length - 1];
  return `${by} px too wide` + (last ? `: <${last.tagName.toLowerCase()} class="${last.className}">` : "");
}"""


@dataclass(frozen=True, slots=True)
class Variant:
    """How a place is looked at."""

    width: Literal["wide", "390"]
    theme: Literal["light", "dark"]
    language: str

    def __str__(self) -> str:
        return f"{self.width}-{self.theme}-{self.language}"


@dataclass
class Camera:
    """A browser before a portal. `complaints` collects what it stumbled over."""

    browser: Browser
    address: str
    complaints: list[str] = field(default_factory=list)
    _logins: dict[Role, Any] = field(default_factory=dict)
    _no_pages: set[str] = field(default_factory=set)

    @contextmanager
    def as_(self, role: Role, variant: Variant) -> Iterator[BrowserContext]:
        """Open a browser profile of somebody who is logged in, if the role has a name."""
        context = self.browser.new_context(
            viewport={"width": WIDTHS[variant.width], "height": 844 if variant.width == "390" else 800},
            color_scheme=variant.theme,
            locale={"en": "en-GB", "ru": "ru-RU"}[variant.language],
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
            storage_state=self._state(role),
        )
        context.set_default_timeout(15_000)
        context.add_cookies([{"name": "lang", "value": variant.language, "url": self.address}])
        yield context
        context.close()

    def cookies(self, role: Role) -> str:
        """Return the cookies of somebody who is logged in, as a header."""
        state = self._state(role) or {"cookies": []}
        return "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in state["cookies"])

    def _state(self, role: Role) -> Any:
        if role in PEOPLE and role not in self._logins:
            self._logins[role] = self._log_in(PEOPLE[role])
        return self._logins.get(role)

    def _log_in(self, email: str) -> Any:
        context = self.browser.new_context(locale="en-GB")
        page = context.new_page()
        page.goto(f"{self.address}/login")
        page.fill("input[name=email]", email)
        page.fill("input[name=password]", PASSWORD)
        page.click("main form button")
        page.wait_for_url(re.compile(r"/(dashboard|admin|profile)"))
        state = context.storage_state()
        context.close()
        return state

    def open(self, context: BrowserContext, place: Place, variant: Variant) -> Page | None:
        """Go there and do what is done there; None when it is no page of ours but a file or a way on."""
        name = f"{place.name} ({variant})"
        if place.name in self._no_pages:
            return None
        if place.act is None:
            answer = context.request.get(self.address + place.path, max_redirects=0)
            if answer.status in range(300, 400) or "text/html" not in answer.headers.get("content-type", ""):
                self._no_pages.add(place.name)
                return None
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(f"{name}: {error}"))
        page.on("console", lambda said: self._hear(name, said.type, said.text, place.status))
        statuses = [0]
        page.on("response", lambda reply: self._note(reply, statuses))
        page.goto(self.address + place.path)
        if place.act is not None:
            place.act(page)
        if statuses[-1] != place.status:
            self.complaints.append(f"{name}: answered {statuses[-1]} instead of {place.status}")
        return page

    @staticmethod
    def _note(reply: Any, statuses: list[int]) -> None:
        if reply.request.is_navigation_request() and not 300 <= reply.status < 400:
            statuses.append(reply.status)

    def _hear(self, name: str, kind: str, text: str, expected: int) -> None:
        if kind in {"error", "warning"} and f"status of {expected}" not in text:
            self.complaints.append(f"{name}: the browser says: {text}")

    def shoot(self, page: Page, place: Place, variant: Variant, folder: Path) -> Path:
        """Make the picture and look for what sticks out."""
        if variant.width == "390" and (wide := page.evaluate(OVERFLOW)):
            self.complaints.append(f"{place.name} ({variant}): {wide}")
        path = folder / f"{place.name}.{variant}.png"
        # A dialog and an open menu belong to the window; the rest is shown in full length.
        page.screenshot(path=path, full_page="dialog" not in place.name)
        return path


def chromium() -> str:
    """Return the path of Debian's Chromium, or of the one that CHROMIUM names. Raises Failure when there is none."""
    path = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )
    if path is None:
        raise Failure("No Chromium was found. Debian: apt-get install chromium; elsewhere set CHROMIUM to its path.")
    return path


@contextmanager
def camera(address: str) -> Iterator[Camera]:
    """Start a browser before the portal at an address."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield Camera(browser, address)
        browser.close()
