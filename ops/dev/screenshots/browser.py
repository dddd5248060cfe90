"""Chromium driven by Playwright: visits pages as a user, takes screenshots, and records defects."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

from playwright.sync_api import Browser, BrowserContext, Error, Page, Response, ViewportSize, sync_playwright

from ops.console import Failure
from ops.dev.screenshots.actors import ADMIN, BUYER, NEWCOMER, PASSWORD, TWO_FACTOR_USER, VIEWER
from ops.dev.screenshots.pages import PageVisit, Role
from ops.dev.screenshots.scratch_portal import ScratchPortal

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
EMAILS: dict[Role, str] = {
    "buyer": BUYER,
    "newcomer": NEWCOMER,
    "guarded": TWO_FACTOR_USER,
    "admin": ADMIN,
    "viewer": VIEWER,
}
# Elements beyond the right edge of the window, deepest first, or of a card; deliberately clipped ones do not count.
OVERFLOW = """() => {
  const edge = document.documentElement.clientWidth;
  const by = document.documentElement.scrollWidth - edge;
  if (by <= 0) {
    const hidden = [...document.querySelectorAll("main .card")].map((card) => card.scrollWidth - card.clientWidth);
    const most = Math.max(0, ...hidden);
    return most > 1 ? `${most} px of a table are out of its card` : null;
  }
  const out = [...document.querySelectorAll("main *, header *, nav *, footer *")]
    .filter((one) => one.getBoundingClientRect().right > edge + 1 && getComputedStyle(one).position !== "absolute");
  const last = out[out.length - 1];
  return `${by} px too wide` + (last ? `: <${last.tagName.toLowerCase()} class="${last.className}">` : "");
}"""


@dataclass(frozen=True, slots=True)
class Variant:
    """Width, theme and language of a visit."""

    width: Literal["wide", "390"]
    theme: Literal["light", "dark"]
    language: str

    def __str__(self) -> str:
        return f"{self.width}-{self.theme}-{self.language}"


def _window(variant: Variant) -> ViewportSize:
    return {"width": WIDTHS[variant.width], "height": 844 if variant.width == "390" else 800}


@dataclass
class ScreenshotBrowser:
    """A browser for a portal. `script` (axe-core) is added to every page."""

    browser: Browser
    stage: ScratchPortal
    script: str = ""
    _complaints: list[str] = field(default_factory=list)
    _heard: list[str] = field(default_factory=list)
    _statuses: list[int] = field(default_factory=lambda: [0])
    _here: PageVisit | None = None
    _logins: dict[Role, Any] = field(default_factory=dict)
    _no_pages: set[str] = field(default_factory=set)

    @property
    def complaints(self) -> list[str]:
        """The defects found so far."""
        return self._complaints + self._heard

    @property
    def address(self) -> str:
        return self.stage.address

    @contextmanager
    def as_(self, role: Role, variant: Variant) -> Iterator[BrowserContext]:
        """Open a browser context, logged in if the role has an account."""
        context = self.browser.new_context(
            viewport=_window(variant),
            color_scheme=variant.theme,
            locale={"en": "en-GB", "ru": "ru-RU"}[variant.language],
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
            storage_state=self._state(role),
        )
        context.set_default_timeout(15_000)
        if self.script:
            context.add_init_script(self.script)
        # The active announcement is dismissed, except in one interaction.
        announced = cast(UUID, self.stage.shop.ids["announcement_id"][0][1]).hex[:12]
        for name, value in (("lang", variant.language), ("seen", announced)):
            context.add_cookies([{"name": name, "value": value, "url": self.address}])
        yield context
        context.close()

    def cookies(self, role: Role) -> str:
        """Return the Cookie header of a role's login."""
        state = self._state(role) or {"cookies": []}
        return "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in state["cookies"])

    def _state(self, role: Role) -> Any:
        if role in EMAILS and role not in self._logins:
            self._logins[role] = self._log_in(EMAILS[role])
        return self._logins.get(role)

    def _log_in(self, email: str) -> Any:
        context = self.browser.new_context(locale="en-GB")
        page = context.new_page()
        page.goto(f"{self.address}/login")
        page.fill("input[name=email]", email)
        page.fill("input[name=password]", PASSWORD)
        page.click("main form button")
        page.wait_for_url(re.compile(r"/(dashboard|admin|profile|login/code)"))
        if page.url.endswith("/login/code"):
            page.fill("input[name=code]", self.stage.shop.codes.pop())
            page.click("main form button")
            page.wait_for_url(re.compile(r"/dashboard"))
        state = context.storage_state()
        context.close()
        return state

    def open(self, context: BrowserContext, place: PageVisit, variant: Variant) -> Page | None:
        """Open a page and perform its action; None when it is a file or a redirect.

        All visits of a context share one tab, which takes half the time of a tab for each.
        """
        if place.name in self._no_pages:
            return None
        self._complaints += self._heard
        self._heard, self._statuses, self._here = [], [0], place
        page = self._tab(context, variant)
        reply = self._went(page, self.stage.addresses[place.portal] + place.path)
        if place.act is not None:
            place.act(page)
        elif reply is None or reply.request.redirected_from or "text/html" not in reply.headers.get("content-type", ""):
            self._no_pages.add(place.name)
            self._heard = []
            return None
        if self._statuses[-1] != place.status:
            self._heard.append(f"{place.name} ({variant}): answered {self._statuses[-1]} instead of {place.status}")
        return page

    def _tab(self, context: BrowserContext, variant: Variant) -> Page:
        """Return the context's tab, with size and theme reset."""
        if context.pages:
            page = context.pages[0]
        else:
            page = context.new_page()
            page.on("pageerror", lambda error: self._hear(variant, str(error)))
            page.on("console", lambda message: self._listen(variant, message.type, message.text))
            page.on("response", self._note)
        page.set_viewport_size(_window(variant))
        page.emulate_media(media="screen", color_scheme=variant.theme, reduced_motion="reduce")
        return page

    @staticmethod
    def _went(page: Page, address: str) -> Response | None:
        try:
            return page.goto(address)
        except Error as error:
            if "Download is starting" in error.message:
                return None
            raise

    def _note(self, reply: Response) -> None:
        if reply.request.is_navigation_request() and not 300 <= reply.status < 400:
            self._statuses.append(reply.status)

    def _listen(self, variant: Variant, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and self._here and f"status of {self._here.status}" not in text:
            self._hear(variant, f"the browser says: {text}")

    def _hear(self, variant: Variant, text: str) -> None:
        self._heard.append(f"{self._here.name if self._here else '?'} ({variant}): {text}")

    def shoot(self, page: Page, place: PageVisit, variant: Variant, folder: Path) -> Path:
        """Take a screenshot and check for overflow."""
        if wide := page.evaluate(OVERFLOW):
            self._hear(variant, wide)
        path = folder / f"{place.name}.{variant}.png"
        # Dialogs are relative to the window, and the API readers are endless; other pages are shown in full length.
        page.screenshot(path=path, full_page=place.ours and "dialog" not in place.name)
        return path


def chromium() -> str:
    """Return the path of Chromium: CHROMIUM, or the installed one. Raises Failure when there is none."""
    path = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )
    if path is None:
        raise Failure("No Chromium was found. Debian: apt-get install chromium; elsewhere set CHROMIUM to its path.")
    return path


@contextmanager
def open_browser(set_up: ScratchPortal, script: str = "") -> Iterator[ScreenshotBrowser]:
    """Start a browser for a portal."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield ScreenshotBrowser(browser, set_up, script)
        browser.close()
