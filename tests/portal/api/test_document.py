"""The OpenAPI document: complete, with examples, and read by pages that ask no stranger for anything."""

import json
import re
from typing import Any

import pytest
from flask import Flask

from ops.commands import openapi
from portal.api.openapi.docs_pages import whole
from tests.portal.conftest import Browser

CONTRACT = """
POST /auth/register, POST /auth/login, GET /users/me, PATCH /users/me, GET /users/me/referrals,
POST /tokens/purchase, GET /tokens/my-tokens, DELETE /tokens/{token_id}, GET /currency/balance,
GET /currency/transactions, POST /currency/purchase, POST /currency/mock-purchase,
POST /currency/admin/simulate-payment/{payment_id}, POST /webhooks/payment, POST /webhooks/payment/{provider},
GET /webhooks/mock-payment, GET /bundles/, GET /bundles/{bundle_id}, POST /bundles/{bundle_id}/purchase,
POST /bundles/, PATCH /bundles/{bundle_id}, DELETE /bundles/{bundle_id}, GET /admin/users,
PATCH /admin/users/{user_id}, GET /admin/tokens, DELETE /admin/tokens/{token_id}, GET /admin/audit-logs,
GET /analytics/usage, GET /analytics/admin/global-stats
"""


@pytest.fixture
def document(made_app: Flask) -> dict[str, Any]:
    return whole(made_app)  # type: ignore[arg-type]


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path.removeprefix('/api/v1')}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_every_endpoint_of_the_contract_is_there_and_no_other(document: dict[str, Any]) -> None:
    wanted = {line.strip() for line in CONTRACT.replace("\n", " ").split(",")}
    assert {name for name, _ in operations(document)} == wanted | {
        "GET /health",
        "GET /health/detailed",
        "GET /metrics",
    }


def test_every_endpoint_and_every_error_has_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        if name == "GET /metrics":
            continue  # no JSON
        assert operation["operationId"]
        for status, reply in operation["responses"].items():
            if status in {"204", "303"}:
                continue
            told = reply["content"]["application/json"]
            assert told.get("example"), (name, status)
            assert told["schema"]["$ref"].removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in document["components"]["schemas"], name


def test_every_body_has_an_example_for_each_field_that_is_needed(document: dict[str, Any]) -> None:
    for name in ("Register", "Credentials", "Purchase", "TopUp", "MockPurchase", "NewBundle"):
        schema = document["components"]["schemas"][name]
        for field in schema["required"]:
            assert schema["properties"][field]["examples"], (name, field)


def test_the_file_in_the_repository_is_up_to_date() -> None:
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.text(), "renew it with ./zenzefi openapi"


def test_the_document_is_served(anonymous: Browser, document: dict[str, Any]) -> None:
    assert anonymous.get("/openapi.json").json == document


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_swagger_ui_and_redoc_load_everything_from_the_portal(anonymous: Browser, path: str) -> None:
    page = anonymous.get(path)
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert address.startswith("/")
        assert anonymous.get(address).status_code in {200, 302}, address


def test_no_other_files_of_the_wheels_are_served(anonymous: Browser) -> None:
    for name in ("swagger/js/../plugins.py", "swagger/__init__.py", "redoc/../plugins.py", "other/js/x.js"):
        assert anonymous.get(f"/docs/assets/{name}").status_code == 404
