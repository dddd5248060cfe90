"""Locust users of the load test: buyers in the portal, clients of the JSON API and of the proxy. Runs in .venv-load.

ZENZEFI_LOAD_FILE names the JSON file of `./zenzefi load` with addresses, users and tokens.
"""

import itertools
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from locust import constant_throughput, events, task
from locust.contrib.fasthttp import FastHttpUser

from ops.dev.load.journeys import Buyer

FACTS = json.loads(Path(os.environ["ZENZEFI_LOAD_FILE"]).read_text(encoding="utf-8"))
BUYERS, TOKENS = itertools.cycle(FACTS["buyers"]), itertools.cycle(FACTS["tokens"])


class Browser:
    """Adapter of Locust's HTTP client for `journeys`."""

    def __init__(self, user: FastHttpUser) -> None:
        self._user = user

    def get(self, path: str, *, name: str) -> Any:
        """Fetch a page."""
        return self._page(self._user.client.get(path, name=name))

    def post(self, path: str, fields: dict[str, str], *, name: str) -> Any:
        """Send a form and follow redirects."""
        return self._page(self._user.client.post(path, data=fields, name=name))

    def fail(self, name: str, reason: str) -> None:
        """Count a failure."""
        events.request.fire(
            request_type="CHECK", name=name, response_time=0, response_length=0, exception=AssertionError(reason)
        )

    @staticmethod
    def _page(answer: Any) -> Any:
        return SimpleNamespace(status=answer.status_code, text=answer.text or "", url=urlsplit(answer.url or "").path)


class PortalBuyer(FastHttpUser):
    """A user of the portal's pages, who mostly reads and sometimes buys."""

    host = FACTS["portal_url"]
    fixed_count = FACTS["buyers_at_once"]
    wait_time = constant_throughput(FACTS["pages_per_second"])

    def on_start(self) -> None:
        """Log in."""
        user = next(BUYERS)
        self.buyer = Buyer(Browser(self), user["email"], user["password"])
        self.buyer.log_in()

    @task(20)
    def look_around(self) -> None:
        self.buyer.look_around()

    @task(6)
    def look_at_a_token(self) -> None:
        self.buyer.look_at_a_token()

    @task(2)
    def buy(self) -> None:
        self.buyer.buy()

    @task(1)
    def revoke(self) -> None:
        self.buyer.revoke()

    @task(1)
    def top_up(self) -> None:
        self.buyer.top_up()


class ApiClient(FastHttpUser):
    """A program that uses the JSON API of the portal."""

    host = FACTS["portal_url"]
    fixed_count = FACTS["api_clients_at_once"]
    wait_time = constant_throughput(FACTS["pages_per_second"])

    def on_start(self) -> None:
        """Log in as one of the buyers."""
        answer = self.client.post("/api/v1/auth/login", json=next(BUYERS), name="api login")
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    @task(3)
    def balance(self) -> None:
        self.client.get("/api/v1/currency/balance", headers=self.headers, name="api balance")

    @task(3)
    def tokens(self) -> None:
        self.client.get("/api/v1/tokens/my-tokens", headers=self.headers, name="api my-tokens")

    @task(1)
    def purchase(self) -> None:
        body = {"duration_hours": 1, "scope": "full"}
        self.client.post("/api/v1/tokens/purchase", json=body, headers=self.headers, name="api purchase")


class ProxyClient(FastHttpUser):
    """A client of the proxy: small replies, sometimes the token's status."""

    host = FACTS["proxy_url"]
    fixed_count = FACTS["clients_at_once"]
    wait_time = constant_throughput(FACTS["requests_per_second"])

    def on_start(self) -> None:
        """Take a token."""
        self.headers = {"X-Access-Token": next(TOKENS)}

    @task(50)
    def use(self) -> None:
        self.client.get("/certificates/filter", headers=self.headers, name="proxy /certificates/filter")

    @task(1)
    def status(self) -> None:
        self.client.get("/api/v1/proxy/status", headers=self.headers, name="proxy /api/v1/proxy/status")
