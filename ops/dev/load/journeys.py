"""Actions of a buyer in the portal's pages: each form is sent with the values of the page, including the CSRF token.

The module is independent of Locust: `locustfile.py` passes a client that measures, a test one without network.
"""

from __future__ import annotations

import random
import re
from typing import Protocol

from ops.dev.load.html_forms import form_of, links_of

TOKEN_PAGE = re.compile(r"^/tokens/[0-9a-f-]{36}$")
# Pages that are only read, with their relative frequency.
PAGES = {"/dashboard": 6, "/tokens": 6, "/wallet": 4, "/usage": 2, "/bundles": 1, "/notifications": 1, "/invite": 1}
SECONDS_TO_DECIDE = 5.0


class Page(Protocol):
    """A response."""

    status: int
    text: str
    url: str


class Client(Protocol):
    """A browser. `name` is the line of the report that a request is counted in."""

    def get(self, path: str, *, name: str) -> Page:
        """Fetch a page."""

    def post(self, path: str, fields: dict[str, str], *, name: str) -> Page:
        """Send a form and follow redirects."""

    def fail(self, name: str, reason: str) -> None:
        """Count a request with a wrong response as failed."""


class Buyer:
    """One buyer with a browser."""

    def __init__(self, client: Client, email: str, password: str) -> None:
        self._client = client
        self._email, self._password = email, password
        self._random = random.Random(email)  # noqa: S311 - not for secrets

    def log_in(self) -> None:
        """Log in by the form."""
        self._send("/login", "/login", email=self._email, password=self._password)

    def look_around(self) -> None:
        """Fetch one of the pages."""
        [path] = self._random.choices(list(PAGES), weights=list(PAGES.values()))
        self._client.get(path, name=path)

    def look_at_a_token(self) -> None:
        """Open one of the newest tokens."""
        self._open_a_token()

    def buy(self) -> None:
        """Buy a token for an hour."""
        page = self._send("/tokens/buy", "/tokens/buy", duration_hours="1", scope="full", name="Load test")
        if page is not None and 'data-testid="secret"' not in page.text:
            self._client.fail("POST /tokens/buy", f"status {page.status} without a secret")

    def revoke(self) -> None:
        """Revoke a token."""
        page = self._open_a_token()
        if page is None or not links_of(page.text, f"{page.url}/revoke"):
            return
        self._send(f"{page.url}/revoke", f"{page.url}/revoke", line="/tokens/[id]/revoke")

    def top_up(self) -> None:
        """Pay at the mock provider's checkout and return to the payment's page."""
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
        """Fetch a page, fill in its form and send it."""
        page = self._client.get(shown, name=line or shown)
        try:
            form = form_of(page.text, action)
        except LookupError as error:
            self._client.fail(line or shown, str(error))
            return None
        return self._client.post(action, {**form.fields, **fields}, name=f"POST {line or action}")
