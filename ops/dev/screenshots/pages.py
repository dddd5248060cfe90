"""What there is to see: every page that the routes know, found by walking them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from flask import Flask
from playwright.sync_api import Page
from werkzeug.routing import Rule

from ops.dev.screenshots.actors import SampleShop

Role = Literal["visitor", "buyer", "newcomer", "guarded", "admin", "viewer"]
# Portals over the one shop: as it comes, with a mail server, and closed for maintenance.
Portal = Literal["usual", "mailing", "closed"]
ROLES: tuple[Role, ...] = get_args(Role)
# What a visitor sees; a buyer would be led on from most of it.
FOR_VISITORS = {"pages", "accounts", "links", "mock_checkout", "development"}
# Of these a picture is made for each value of their one argument; of others one for the usual value.
EVERY_VALUE = {"tokens.detail", "wallet.payment", "development.error"}
# What programs read, and the two readers of the API's document, which are scenes.
EXCLUDED = ("//", "/api/", "/docs", "/redoc", "/openapi")
# Not pages: files for machines, addresses that act, and a mail in its sandbox, where no script runs.
NO_PAGES = {"static", "pages.favicon", "pages.robots", "health.health", "links.follow", "office_mails.preview_html"}
# Without a link from a mail these have nothing to show but where to get one.
GONE = {"links.reset", "links.confirm", "links.finish_login"}


@dataclass(frozen=True, slots=True)
class PageVisit:
    """An address that somebody looks at; `act` is what he does there before the picture is made.

    What is not `ours` was drawn by somebody else's script: it is shown and not judged.
    """

    name: str
    path: str
    role: Role
    act: Callable[[Page], None] | None = None
    status: int = 200
    portal: Portal = "usual"
    ours: bool = True


def page_visits(app: Flask, shop: SampleShop) -> tuple[list[PageVisit], list[str]]:
    """Return a place for every page that a GET reaches, and the routes whose argument the shop has no value for."""
    places, missing = [], []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if (
            "GET" not in (rule.methods or ())
            or rule.endpoint in NO_PAGES
            or "//" in rule.rule
            or rule.rule.startswith(EXCLUDED)
        ):
            continue
        if lacking := [name for name in sorted(rule.arguments) if name not in shop.ids]:
            missing.append(f"{rule.rule}: ops/dev/screenshots/sample_data.py makes no {', '.join(lacking)}")
            continue
        status = 410 if rule.endpoint in GONE else 200
        places += [PageVisit(name, path, _role(rule), None, status) for name, path in _addresses(rule, shop)]
    return places, missing


def _role(rule: Rule) -> Role:
    if rule.rule.startswith("/admin"):
        return "admin"
    return "visitor" if rule.endpoint.partition(".")[0] in FOR_VISITORS else "buyer"


def _addresses(rule: Rule, shop: SampleShop) -> Iterator[tuple[str, str]]:
    name = rule.endpoint.replace(".", "-")
    if rule.endpoint in EVERY_VALUE:
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
