"""Visits of every page of the portal, derived from its routes."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from flask import Flask
from playwright.sync_api import Page
from werkzeug.routing import Rule

from ops.dev.screenshots.actors import SampleShop

Role = Literal["visitor", "buyer", "newcomer", "guarded", "admin", "viewer"]
# Portals on the same database: default, with a mail server, and in maintenance mode.
Portal = Literal["usual", "mailing", "closed"]
ROLES: tuple[Role, ...] = get_args(Role)
# Blueprints for signed-out visitors; most redirect signed-in users.
FOR_VISITORS = {"pages", "accounts", "links", "mock_checkout", "development"}
# Endpoints visited with every value of their argument; others only with the default.
EVERY_VALUE = {"tokens.detail", "wallet.payment", "development.error"}
# Endpoints for programs, and the API readers, which are interactions.
EXCLUDED = ("//", "/api/", "/docs", "/redoc", "/openapi")
# Not pages: files, URLs that act, and the sandboxed mail preview, where no script runs.
NO_PAGES = {"static", "pages.favicon", "pages.robots", "health.health", "links.follow", "admin_emails.preview_html"}
# Without a valid e-mail link these respond with 410.
GONE = {"links.reset", "links.confirm", "links.finish_login"}


@dataclass(frozen=True, slots=True)
class PageVisit:
    """A page to visit; `act` is performed before the screenshot.

    Pages that are not `ours` are rendered by a third-party script and not checked.
    """

    name: str
    path: str
    role: Role
    act: Callable[[Page], None] | None = None
    status: int = 200
    portal: Portal = "usual"
    ours: bool = True


def page_visits(app: Flask, shop: SampleShop) -> tuple[list[PageVisit], list[str]]:
    """Return a visit for every GET page, and the routes whose arguments have no sample value."""
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
