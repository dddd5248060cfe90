"""Walks over every route of the API: what each needs and what each reply carries. Refusals: tests/abuse/portal."""

import inspect
import re
import uuid
from typing import Any, get_type_hints

import pytest
from flask import Flask
from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from models.access_tokens import TokenState
from models.api_keys import KeyScope
from models.config.settings import Settings
from models.services.ledger import transfers
from models.services.tokens import queries as token_queries
from models.users import User
from portal.api.schemas.common import Body
from tests.factories import buy
from tests.portal.api.conftest import Program
from tests.portal.conftest import Browser

OPEN = {"api_auth.login", "api_auth.register", "api_play.mock_payment"}


def routes(app: Flask) -> list[tuple[str, Rule]]:
    """Return every method and route of the API."""
    found = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("api_")]
    return [(method, rule) for rule in found for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]


def call(caller: Program | Browser, method: str, rule: Rule, one: uuid.UUID) -> TestResponse:
    headers = caller.headers if isinstance(caller, Program) else {}
    return caller.client.open(re.sub("<[^>]+>", str(one), rule.rule), method=method, json={}, headers=headers)


def guarded(app: Flask) -> list[tuple[str, Rule]]:
    """Return those that are not open to all."""
    found = [(method, rule) for method, rule in routes(app) if rule.endpoint not in OPEN]
    assert len(found) >= 18
    return found


def needs(app: Flask, rule: Rule) -> KeyScope | None:
    scope: KeyScope | None = app.view_functions[rule.endpoint].__dict__["needs"]
    return scope


def test_every_route_declares_its_scope(app: Flask) -> None:
    assert {rule.endpoint for _, rule in routes(app) if needs(app, rule) is None} == OPEN


@pytest.mark.parametrize("shown", ["Bearer x.y.z", "Bearer zk_made-up", "Bearer " + "ы" * 5])
def test_bad_credentials_are_401_and_ask_for_bearer(app: Flask, shown: str) -> None:
    caller = Program(app.test_client(), Authorization=shown)
    for method, rule in guarded(app)[:3]:
        answer = call(caller, method, rule, uuid.uuid4())
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_another_authorization_scheme_is_not_accepted(app: Flask) -> None:
    caller = Program(app.test_client(), Authorization="Basic YWxpY2U6c2VjcmV0")
    assert caller.get("/currency/balance").status_code == 403


def test_another_users_token_is_404_and_unchanged(
    alices: Program, charlies: Program, session: Session, alice: User, settings: Settings
) -> None:
    token = buy(session, alice, settings)
    session.commit()
    assert charlies.delete(f"/tokens/{token.id}").status_code == 404
    assert token_queries.by_id(session, token.id).state(token.created_at) is TokenState.READY
    assert transfers.wallet_of(session, alice.id).balance == 82


def test_an_unknown_or_malformed_id_is_404(app: Flask, danas: Program) -> None:
    walked = [(method, rule) for method, rule in guarded(app) if rule.arguments]
    assert len(walked) >= 8
    for method, rule in walked:
        assert (rule.rule, call(danas, method, rule, uuid.uuid4()).status_code) == (rule.rule, 404)
        answer = danas.client.open(re.sub("<[^>]+>", "x", rule.rule), method=method, json={}, headers=danas.headers)
        assert (rule.rule, answer.status_code) == (rule.rule, 404)


def test_every_response_is_uncached_json_with_security_headers(app: Flask, danas: Program) -> None:
    for method, rule in guarded(app):
        answer = call(danas, method, rule, uuid.uuid4())
        assert answer.mimetype == "application/json" or answer.status_code == 204
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Request-ID"]
        assert "Set-Cookie" not in answer.headers


def bodies(app: Flask) -> list[tuple[str, type[BaseModel]]]:
    """Return every model of a JSON body with the endpoint that takes it."""
    found = [
        (name, get_type_hints(inspect.unwrap(view))["body"])
        for name, view in app.view_functions.items()
        if name.startswith("api_") and "body" in get_type_hints(inspect.unwrap(view))
    ]
    assert len(found) >= 9
    return found


def wrong_values(field: dict[str, Any]) -> list[object]:
    """Return JSON values of types that a property's schema does not name."""
    kinds = {one.get("type", "") for one in field.get("anyOf", [field])}
    samples: dict[str, list[object]] = {
        "boolean": [True, False],
        "integer": [0, 1, 24],
        "number": [1.5],
        "string": ["1", "24", "true"],
        "array": [[], ["24"]],
        "object": [{}],
    }
    also = {"integer"} if "number" in kinds else set()
    return [value for kind, values in samples.items() if kind not in kinds | also for value in values]


def faulty_fields(model: type[BaseModel], sent: dict[str, object]) -> set[object]:
    """Return the fields that a model refuses."""
    try:
        model.model_validate(sent)
    except ValidationError as error:
        return {fault["loc"][0] for fault in error.errors() if fault["loc"]}
    return set()


def test_every_field_of_a_body_accepts_exactly_the_documented_json_types(app: Flask) -> None:
    # JSON's types are distinct (RFC 8259, section 3): true is no number, 0 is no boolean, "24" is no integer.
    for endpoint, model in bodies(app):
        assert issubclass(model, Body), endpoint
        schema = model.model_json_schema()
        for name, field in schema.get("properties", {}).items():
            for value in wrong_values(field):
                assert name in faulty_fields(model, {name: value}), (endpoint, name, value)


def test_booleans_are_not_numbers_and_numbers_are_not_booleans(
    alices: Program, danas: Program, session: Session, alice: User
) -> None:
    session.commit()
    for hours in (True, "1", [1], 1.5):
        assert alices.post("/tokens/purchase", {"duration_hours": hours, "scope": "full"}).status_code == 422
    for flag in (0, 1, "true", "no"):
        assert danas.patch(f"/admin/users/{alice.id}", {"is_superuser": flag}).status_code == 422
    target = {"currency_balance": True, "reason": "Goodwill"}
    assert danas.patch(f"/admin/users/{alice.id}", target).status_code == 422
    assert transfers.wallet_of(session, alice.id).balance == 100
    # What clients rightly send: 24.0 is the integer 24, amounts are numbers or strings.
    assert alices.post("/tokens/purchase", {"duration_hours": 1.0, "scope": "full"}).status_code == 201
    for amount in (50, 50.5, "50.50"):
        assert alices.post("/currency/purchase", {"amount_znc": amount}).status_code == 201
