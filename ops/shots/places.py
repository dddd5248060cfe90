"""What there is to see: every page that the routes know, found by walking them, and scenes that only clicks reach."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from flask import Flask
from playwright.sync_api import Page
from werkzeug.routing import Rule

from ops.shots.making import PASSWORD, Shop

Role = Literal["visitor", "buyer", "newcomer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
# What a visitor sees; a buyer would be led on from most of it.
FOR_VISITORS = {"pages", "accounts", "links", "mock_checkout", "development"}
# Of these a picture is made for each value of their one argument; of others one for the usual value.
IN_EVERY_STATE = {"tokens.detail", "wallet.payment", "development.error"}
# The document of the API comes with readers of its own, which are not ours to judge.
FOREIGN = ("//", "/api/", "/docs", "/redoc", "/openapi")
# Not pages: files for machines, addresses that act, and a mail in its sandbox, where no script runs.
NO_PAGES = {"static", "pages.favicon", "pages.robots", "health.health", "links.follow", "office_mails.preview_html"}
# Without a link from a mail these have nothing to show but where to get one.
GONE = {"links.reset", "links.confirm"}


@dataclass(frozen=True, slots=True)
class Place:
    """An address that somebody looks at; `act` is what he does there before the picture is made."""

    name: str
    path: str
    role: Role
    act: Callable[[Page], None] | None = None
    status: int = 200


def walked(app: Flask, shop: Shop) -> tuple[list[Place], list[str]]:
    """Return a place for every page that a GET reaches, and the routes whose argument the shop has no value for."""
    places, missing = [], []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if (
            "GET" not in (rule.methods or ())
            or rule.endpoint in NO_PAGES
            or "//" in rule.rule
            or rule.rule.startswith(FOREIGN)
        ):
            continue
        if lacking := [name for name in sorted(rule.arguments) if name not in shop.ids]:
            missing.append(f"{rule.rule}: ops/shots/shop.py makes no {', '.join(lacking)}")
            continue
        status = 410 if rule.endpoint in GONE else 200
        places += [Place(name, path, _role(rule), None, status) for name, path in _addresses(rule, shop)]
    return places, missing


def _role(rule: Rule) -> Role:
    if rule.rule.startswith("/admin"):
        return "admin"
    return "visitor" if rule.endpoint.partition(".")[0] in FOR_VISITORS else "buyer"


def _addresses(rule: Rule, shop: Shop) -> Iterator[tuple[str, str]]:
    name = rule.endpoint.replace(".", "-")
    if rule.endpoint in IN_EVERY_STATE:
        [argument] = rule.arguments
        for label, value in shop.ids[argument]:
            yield f"{name}-{label}", _filled(rule.rule, argument, value)
        return
    path = rule.rule
    for argument in rule.arguments:
        path = _filled(path, argument, shop.ids[argument][0][1])
    yield name, path


def _filled(path: str, argument: str, value: object) -> str:
    return re.sub(rf"<(?:[^<>]*:)?{argument}>", str(value), path)


def _submit(page: Page) -> None:
    page.locator("main form button.button-main").first.click()
    page.wait_for_load_state()


def _buy(hours: int) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.check(f"input[value='{hours}']", force=True)
        _submit(page)

    return act


def _open(selector: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).first.click()


def _set_up_two_factor(page: Page) -> None:
    page.fill("input[name=current_password]", PASSWORD)
    _submit(page)


def scenes(shop: Shop) -> list[Place]:
    """Return what no address alone shows: secrets, mistakes, dialogs, menus, empty lists, refusals."""
    running, ready = shop.ids["token_id"][0][1], shop.ids["token_id"][1][1]
    return [
        Place("scene-secret", "/tokens/buy", "buyer", _buy(1)),
        Place("scene-secret-replaced", f"/tokens/{ready}/secret", "buyer", _submit),
        Place("scene-short-of-money", "/tokens/buy", "newcomer", _buy(24), 402),
        Place("scene-register-mistakes", "/register", "visitor", _submit, 400),
        Place("scene-revoke-dialog", f"/tokens/{running}", "buyer", _open("[data-dialog=revoke]")),
        Place("scene-account-menu", "/tokens", "buyer", _open(".menu:has(.avatar) > summary")),
        Place("scene-theme-menu", "/", "visitor", _open(".menu > summary")),
        Place("scene-two-factor-setup", "/profile/two-factor", "newcomer", _set_up_two_factor),
        Place("scene-new-dashboard", "/dashboard", "newcomer"),
        Place("scene-new-tokens", "/tokens", "newcomer"),
        Place("scene-new-wallet", "/wallet", "newcomer"),
        Place("scene-landing-of-a-buyer", "/", "buyer"),
        Place("scene-reset-password", f"/links/{shop.ids['secret'][0][1]}", "visitor"),
        Place("error-404", "/nothing/here", "visitor", None, 404),
        Place("error-403", "/admin/", "buyer", None, 403),
    ]
