"""Open redirects, by every parameter that names a return address.

docs/spec/invariants.md#32-redirects-and-forged-headers
"""

import ast
import os
from pathlib import Path

import pytest
from flask import Flask

from models.config.settings import Settings
from models.users import User
from tests.conftest import PASSWORD
from tests.portal.api.conftest import Program
from tests.portal.conftest import Browser
from tests.portal.test_routes import Shop, pages

FOREIGN = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "\\\\evil.example",
    "/\t/evil.example/",
    "/\n/evil.example",
    "javascript:alert(1)",
    "evil.example",
    "/" + "a" * 400,
    "/ /evil.example",
    "http:///evil.example",
]
# What other products call the way back; ours is `next`, and `return_url` in the API.
NAMES = ("next", "return_url", "return_to", "url", "redirect", "redirect_uri", "continue", "back", "to", "ref", "r")
ENDS = {"profile.logout", "own_data.delete", "logins.end_all", "logins.end_others", "admin.end_logins"}


def is_ours(location: str | None, settings: Settings) -> bool:
    """Return whether a redirect stays on this site or leads to the proxy's login endpoint."""
    if location is None or location.startswith(f"{settings.proxy.address}/_zenzefi/enter?ticket="):
        return True
    return location.startswith("/") and not location.startswith(("//", "/\\"))


# The long run sends each of them to every route; below, all of them are sent to every view that reads a return address.
@pytest.mark.parametrize("foreign", FOREIGN[: 3 if os.environ.get("ZENZEFI_SOAK") else 1])
def test_32_no_route_is_an_open_redirect(
    *,
    app: Flask,
    shop: Shop,
    anonymous: Browser,
    as_alice: Browser,
    as_dana: Browser,
    settings: Settings,
    foreign: str,
) -> None:
    asked = dict.fromkeys(NAMES, foreign)
    for browser in (anonymous, as_alice, as_dana):
        for rule in pages(app):
            if rule.endpoint in ENDS or rule.rule.startswith(("/static", "//")) or rule.rule.endswith("/active"):
                continue
            if "GET" in (rule.methods or ()):
                answer = browser.get(shop.path(rule), query_string=asked)
                assert (rule.rule, is_ours(answer.location, settings), answer.location) == (
                    rule.rule,
                    True,
                    answer.location,
                )
            if "POST" in (rule.methods or ()) and browser is not as_dana:
                answer = browser.client.post(
                    shop.path(rule), data={"csrf_token": browser.csrf_token(), **asked}, query_string=asked
                )
                assert (rule.rule, is_ours(answer.location, settings), answer.location) == (
                    rule.rule,
                    True,
                    answer.location,
                )


@pytest.mark.parametrize("foreign", FOREIGN)
def test_32_no_return_address_redirects_to_another_site(app: Flask, alice: User, alices: Program, foreign: str) -> None:
    browser = Browser(app.test_client())
    assert f'value="{foreign}"' not in browser.get("/login", query_string={"next": foreign}).text
    answer = browser.post("/login", email=alice.email, password=PASSWORD, next=foreign)
    assert answer.location == "/dashboard"
    assert browser.get("/login", query_string={"next": foreign}).location == "/dashboard"
    assert browser.post("/preferences", theme="dark", next=foreign).location == "/"
    assert browser.post("/wallet/top-up", amount="5", next=foreign).location.startswith("/mock-checkout/")
    asked = alices.post("/currency/purchase", {"amount_znc": "5", "return_url": foreign})
    assert (asked.status_code, "evil.example" in asked.headers.get("Location", "")) == (422, False)


def test_32_every_return_address_of_a_request_is_validated() -> None:
    """Every view that reads `next` from a request passes it to `local_path` in the same expression."""
    found = 0
    for path in sorted((Path(__file__).parents[3] / "portal").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        checked = {
            id(argument)
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "local_path"
            for argument in call.args
        }
        for call in ast.walk(tree):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "get"
                and call.args
                and isinstance(call.args[0], ast.Constant)
                and call.args[0].value == "next"
            ):
                found += 1
                assert id(call) in checked, f"{path}:{call.lineno}"
    assert found >= 5
