"""What buyers do in the portal, page by page, each form sent with what the page has put into it, CSRF token included.

Nothing here knows Locust: `locustfile.py` gives it a client that measures, and a test one that needs no network.
"""

from __future__ import annotations

import random
import re
from typing import Protocol

from ops.dev.load.html_forms import form_of, links_of

TOKEN_PAGE = re.compile(r"^/tokens/[0-9a-f-]{36}$")
# The pages that are only looked at, and how often beside each other.
PAGES = {"/dashboard": 6, "/tokens": 6, "/wallet": 4, "/usage": 2, "/bundles": 1, "/notifications": 1, "/invite": 1}
SECONDS_TO_DECIDE = 5.0


class Page(Protocol):
    """What came back."""

    status: int
    text: str
    url: str


class Client(Protocol):
    """Somebody's browser. `name` is the line of the report under which a request is counted."""

    def get(self, path: str, *, name: str) -> Page:
        """Ask for a page."""

    def post(self, path: str, fields: dict[str, str], *, name: str) -> Page:
        """Send a form and follow where it leads."""

    def fail(self, name: str, reason: str) -> None:
        """Count a request that was answered, but not as it should have been."""


class Buyer:
    """One buyer with a browser."""

    def __init__(self, client: Client, email: str, password: str) -> None:
        self._client = client
        self._email, self._password = email, password
        self._random = random.Random(email)  # noqa: S311 - what is looked at need not be a secret

    def log_in(self) -> None:
        """Log in as anybody does, by the form."""
        self._send("/login", "/login", email=self._email, password=self._password)

    def look_around(self) -> None:
        """Look at one of the pages."""
        [path] = self._random.choices(list(PAGES), weights=list(PAGES.values()))
        self._client.get(path, name=path)

    def look_at_a_token(self) -> None:
        """Open one of the newest tokens."""
        self._open_a_token()

    def buy(self) -> None:
        """Buy a token for the usual time at the price that the page shows."""
        page = self._send("/tokens/buy", "/tokens/buy", duration_hours="1", scope="full", name="Load test")
        if page is not None and 'data-testid="secret"' not in page.text:
            self._client.fail("POST /tokens/buy", f"status {page.status} without a secret")

    def revoke(self) -> None:
        """Give a token back."""
        page = self._open_a_token()
        if page is None or not links_of(page.text, f"{page.url}/revoke"):
            return
        self._send(f"{page.url}/revoke", f"{page.url}/revoke", line="/tokens/[id]/revoke")

    def top_up(self) -> None:
        """Pay at the mock provider's checkout and come back to the payment's page."""
        page = self._send("/wallet", "/wallet/top-up", amount="50")
        if page is None:
            return
        form = form_of(page.text, "")
        name = "POST /mock-checkout/[id]"
        back = self._client.post(page.url, {**form.fields, "outcome": "pay"}, name=name)
        if "/wallet/payments/" not in back.url:
            self._client.fail(name, f"led to {back.url} with status {back.status}")

    def _open_a_token(self) -> Page | None:
        listed = self._client.get("/tokens", name="/tokens")
        found = [link for link in links_of(listed.text, "/tokens/") if TOKEN_PAGE.match(link)]
        return self._client.get(self._random.choice(found), name="/tokens/[id]") if found else None

    def _send(self, shown: str, action: str, *, line: str = "", **fields: str) -> Page | None:
        """Open a page, fill its form in and send it."""
        page = self._client.get(shown, name=line or shown)
        try:
            form = form_of(page.text, action)
        except LookupError as error:
            self._client.fail(line or shown, str(error))
            return None
        return self._client.post(action, {**form.fields, **fields}, name=f"POST {line or action}")
