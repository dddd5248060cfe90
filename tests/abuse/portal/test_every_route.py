"""CSRF, foreign resources and admin routes, on every route of the portal.

docs/spec/invariants.md#27-csrf-foreign-resources-admin-routes
"""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Connection
from sqlalchemy.orm import Session
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from models.access_tokens import AccessToken
from models.api_keys import KeyScope
from models.services.ledger import transfers
from tests.abuse.shop import every_row
from tests.portal.api.conftest import Program
from tests.portal.conftest import Browser
from tests.portal.test_routes import OPEN, OWNED, SIGNED, Shop

# The methods that change something.
ACTS = {"POST", "PUT", "PATCH", "DELETE"}
# Of the API, what everybody may call; a cookie has no say there either.
API_OPEN = {"api_auth.login", "api_auth.register", "api_play.mock_payment"}
# Who has one of these has a secret: a link from a mail, a checkout's address.
SECRETS = {"links.follow", "unsubscribe.ask", "mock_checkout.checkout", "api_play.mock_payment"}
# Its examples have amounts of their own.
DOCUMENT = {"docs.openapi"}


def is_api(rule: Rule) -> bool:
    return rule.endpoint.startswith("api_")


def is_admins(app: Flask, rule: Rule) -> bool:
    """Return whether a route is only for admins."""
    if is_api(rule):
        return app.view_functions[rule.endpoint].__dict__["needs"] is KeyScope.ADMIN
    return rule.rule.startswith("/admin")


def routes(app: Flask) -> Iterator[tuple[str, Rule]]:
    """Return every method and route."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule


def send(caller: Browser | Program, method: str, path: str, **more: object) -> TestResponse:
    headers = caller.headers if isinstance(caller, Program) else {}
    return caller.client.open(path, method=method, headers=headers, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["none", "made up", "another login's"])
def test_27_every_unsafe_route_with_cookie_authentication_rejects_a_request_without_a_csrf_token(
    *, app: Flask, shop: Shop, as_dana: Browser, as_charlie: Browser, connection: Connection, token: str
) -> None:
    sent = {"none": {}, "made up": {"csrf_token": "x"}, "another login's": {"csrf_token": as_charlie.csrf_token()}}
    assert as_dana.get("/admin/").status_code == 200
    before, walked = every_row(connection), 0
    for method, rule in routes(app):
        if method not in ACTS or rule.endpoint in SIGNED:
            continue
        walked += 1
        answer = send(as_dana, method, shop.path(rule), data=sent[token])
        if is_api(rule):
            # The cookie is no credential there, so that nothing can be forged with it.
            assert (rule.rule, answer.status_code) == (rule.rule, 422 if rule.endpoint in API_OPEN else 403)
        else:
            assert (rule.rule, answer.status_code) == (rule.rule, 400)
            assert "This form has expired" in answer.text
            assert answer.headers["X-Request-ID"] in answer.text
    assert walked >= 70
    assert every_row(connection) == before


def test_27_a_csrf_token_in_the_query_string_or_in_a_json_body_is_not_accepted(
    app: Flask, shop: Shop, as_dana: Browser, connection: Connection
) -> None:
    before = every_row(connection)
    for method, rule in routes(app):
        if method == "POST" and not is_api(rule) and rule.endpoint not in SIGNED:
            good = {"csrf_token": as_dana.csrf_token()}
            for more in ({"query_string": good}, {"json": good}):
                answer = send(as_dana, method, shop.path(rule), **more)
                assert (rule.rule, answer.status_code) == (rule.rule, 400)
    assert every_row(connection) == before


def test_27_every_page_of_another_users_resource_is_404(
    *, app: Flask, shop: Shop, as_alice: Browser, as_charlie: Browser, charlies: Program, connection: Connection
) -> None:
    before, walked = every_row(connection), []
    for method, rule in routes(app):
        if not rule.arguments & OWNED or is_admins(app, rule):
            continue
        caller = charlies if is_api(rule) else as_charlie
        form = {} if is_api(rule) or method == "GET" else {"data": {"csrf_token": as_charlie.csrf_token()}}
        answer = send(caller, method, shop.path(rule), **({"json": {}} if is_api(rule) else form))
        assert (method, rule.rule, answer.status_code) == (method, rule.rule, 404)
        if method == "GET":
            # Its owner sees it, so that it was not the address that was wrong.
            assert (rule.rule, as_alice.get(shop.path(rule)).status_code) == (rule.rule, 200)
        walked.append(rule.rule)
    # Receipts as pages and as files, and the API's own.
    assert {"/wallet/receipts/<uuid:transfer_id>/pdf", "/api/v1/tokens/<uuid:token_id>"} <= set(walked)
    assert len(walked) >= 25
    assert every_row(connection) == before


def test_27_no_response_shows_a_user_anything_of_another_user_whatever_ids_are_sent(
    *, app: Flask, shop: Shop, session: Session, as_charlie: Browser, charlies: Program
) -> None:
    token = session.get_one(AccessToken, shop.token_id)
    ids = {"token": token.id, "user": shop.user.id, "user_id": shop.user.id, "payment_id": shop.payment.id}
    hers = (
        shop.user.email,
        token.prefix,
        str(shop.session_id),
        f"{transfers.wallet_of(session, shop.user.id).balance}",
    )
    walked = 0
    for method, rule in routes(app):
        if method != "GET" or is_admins(app, rule) or rule.arguments & OWNED or rule.endpoint in SECRETS | DOCUMENT:
            continue
        walked += 1
        for more in ({}, {"format": "csv"}):
            asked = {**ids, "q": "alice", "page": 1, **more}
            answer = send(charlies if is_api(rule) else as_charlie, "GET", shop.path(rule), query_string=asked)
            assert (rule.rule, [fact for fact in hers if fact.encode() in answer.data]) == (rule.rule, [])
    assert walked >= 40


def test_27_every_admin_route_of_pages_and_api_is_403_for_a_user(
    *, app: Flask, shop: Shop, as_alice: Browser, alices: Program, connection: Connection
) -> None:
    before, walked = every_row(connection), {"page": 0, "api": 0}
    for method, rule in routes(app):
        if not is_admins(app, rule):
            continue
        walked["api" if is_api(rule) else "page"] += 1
        form = {} if method == "GET" else {"data": {"csrf_token": as_alice.csrf_token()}}
        caller = alices if is_api(rule) else as_alice
        answer = send(caller, method, shop.path(rule), **({"json": {}} if is_api(rule) else form))
        assert (method, rule.rule, answer.status_code) == (method, rule.rule, 403)
        if is_api(rule):
            # Refused before anything is read.
            assert answer.json is not None
            assert answer.json["detail"] == "Not enough permissions"
        else:
            assert "Access denied" in answer.text
            assert send(as_alice, method, f"{shop.path(rule)}?format=csv", **form).status_code == 403
    assert walked["page"] >= 40
    assert walked["api"] >= 9
    assert every_row(connection) == before


def test_27_every_other_route_requires_a_login(
    *, app: Flask, shop: Shop, anonymous: Browser, nobody: Program, connection: Connection
) -> None:
    before = every_row(connection)
    for method, rule in routes(app):
        if rule.endpoint in OPEN | API_OPEN:
            continue
        path = shop.path(rule)
        if is_api(rule):
            answer = send(nobody, method, path, json={})
            assert (rule.rule, answer.status_code) == (rule.rule, 403)
            assert answer.json is not None
            assert answer.json["detail"] == "Not authenticated"
        elif method == "GET":
            answer = anonymous.get(path)
            assert (path, answer.status_code, answer.location) == (path, 302, f"/login?next={path}")
        else:
            answer = anonymous.post(path)
            assert (path, answer.status_code, answer.location) == (path, 302, "/login")
    assert every_row(connection) == before
