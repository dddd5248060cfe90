"""The OpenAPI document: general parts, and a helper that documents one endpoint."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from flask_openapi3 import Info, OpenAPI, Tag
from flask_openapi3.models import OPENAPI3_REF_PREFIX
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from models.services import messages
from portal.api.schemas.common import Faults, Problem

VERSION = "1"
INFO = Info(
    title="Zenzefi Proxy Platform",
    version=VERSION,
    description=(
        "Buy access tokens, top up, and look after them.\n\n"
        "Log in with `POST /api/v1/auth/login` and send the token as `Authorization: Bearer …`, or make an API key "
        "in the portal and send it as `Authorization: Bearer zk_…` or `X-API-Key`. Cookies open nothing here.\n\n"
        "Money is a string with two places in ZNC, a time is ISO 8601 in UTC. Every POST that moves money takes an "
        "`Idempotency-Key`: sent again with the same key within 24 hours it answers the same and moves nothing twice."
    ),
)
SECURITY_SCHEMES: dict[str, Any] = {
    "login": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_HEADERS = {
    "RateLimit-Limit": ("How many requests the window takes.", "integer"),
    "RateLimit-Remaining": ("How many more it takes now.", "integer"),
    "RateLimit-Reset": ("Seconds until the oldest one leaves the window.", "integer"),
    "Retry-After": ("Seconds to wait.", "integer"),
    "WWW-Authenticate": ("`Bearer`.", "string"),
}
_RATES = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
# Status: its meaning, and the code of an example; an endpoint may name a better one.
_MEANINGS = {
    400: ("Refused by a rule, or not readable", "bad_request"),
    401: ("The credentials are wrong, expired or revoked", "credentials_invalid"),
    402: ("The balance is too low", "insufficient_funds"),
    403: ("No credentials, a disabled account, or insufficient permissions", "credentials_missing"),
    404: ("Not found, or it belongs to another user", "not_found"),
    409: ("It cannot be done now", "idempotent_request_in_progress"),
    413: ("The body is too large", "request_too_large"),
    422: ("The request does not match its schema", ""),
    429: ("Too many requests", "too_many_attempts"),
    502: ("The payment provider refused", "provider_refused_amount"),
    503: ("A part of the platform does not respond", "provider_down"),
}
# Messages of the codes that belong to a status.
_STATUS_MESSAGES = {
    "bad_request": "This request could not be read.",
    "not_found": "Page not found",
    "request_too_large": "The request is larger than we accept. Make it shorter and try again.",
}
_EXAMPLE_PARAMETERS = {"amount": Decimal(18)}
_FAULT = {
    "loc": ["body", "duration_hours"],
    "msg": "Input should be greater than 0",
    "type": "greater_than",
    "code": "greater_than",
}
_SECURITY: list[dict[str, list[Any]]] = [{"login": []}, {"key": []}]


def tag(name: str, description: str) -> list[Tag]:
    """Return the tag of a blueprint's endpoints."""
    return [Tag(name=name, description=description)]


def documented(
    status: int,
    model: type[BaseModel] | None,
    *,
    example: Any = None,
    errors: Mapping[int, str] | None = None,
    is_open: bool = False,
    validates: bool = True,
) -> dict[str, Any]:
    """Return the arguments of a route decorator for the document: responses with examples, and the security.

    `errors` are the endpoint's own failures, each with the code of an example; those of every endpoint are added.
    """
    usual = (400, 429, 503) if is_open else (400, 401, 403, 429, 503)
    told = {**dict.fromkeys((*usual, *((422,) if validates else ())), ""), **(errors or {})}
    replies: dict[int, Any] = {status: _success(model, example)}
    replies.update({code: _error(code, told[code]) for code in sorted(told)})
    return {"responses": replies, "security": None if is_open else _SECURITY}


def _success(model: type[BaseModel] | None, example: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"headers": {name: _header(name) for name in _RATES}}
    if model is None:
        return {"description": "Done; there is no body", **said}
    schema = {"$ref": f"{OPENAPI3_REF_PREFIX}/{component_name(model)}"}
    _MODELS[component_name(model)] = model
    content = {"schema": schema} | ({"example": example} if example is not None else {})
    return {"description": "Success", "content": {"application/json": content}, **said}


def _error(status: int, code: str) -> dict[str, Any]:
    meaning, usual = _MEANINGS[status]
    name = "Faults" if status == 422 else "Problem"
    code = code or usual
    value: dict[str, Any] = {"detail": [_FAULT], "code": "invalid_request"}
    if status != 422:
        value = {"detail": _STATUS_MESSAGES.get(code) or messages.code_text(code, _EXAMPLE_PARAMETERS), "code": code}
    headers = {401: ("WWW-Authenticate",), 429: (*_RATES, "Retry-After"), 503: ("Retry-After",)}.get(status, ())
    reply: dict[str, Any] = {
        "description": meaning,
        "content": {"application/json": {"schema": {"$ref": f"{OPENAPI3_REF_PREFIX}/{name}"}, "example": value}},
    }
    return reply | ({"headers": {header: _header(header) for header in headers}} if headers else {})


def _header(name: str) -> dict[str, Any]:
    description, kind = _HEADERS[name]
    return {"description": description, "schema": {"type": kind}}


def component_name(model: type[BaseModel]) -> str:
    """Return a component name for a model: `Envelope[Token]` is `EnvelopeToken`."""
    return model.__name__.replace("[", "").replace("]", "")


# The models of replies, filled by the endpoints when their modules are imported.
_MODELS: dict[str, type[BaseModel]] = {"Problem": Problem, "Faults": Faults}


def document(app: OpenAPI, paths: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the OpenAPI document of all endpoints, with additional paths and tags."""
    made: dict[str, Any] = copy.deepcopy(app.api_doc)
    # flask-openapi3 omits what its own class of schemas does not know, such as examples, so they are replaced.
    schemas = made["components"]["schemas"]
    bodies = [inspect.unwrap(view).__annotations__.get("body") for view in app.view_functions.values()]
    for model in filter(None, bodies):
        _add(schemas, component_name(model), model, "validation")
    for name, model in _MODELS.items():
        _add(schemas, name, model, "serialization")
    for item in made["paths"].values():
        for operation in item.values():
            _leave_out_what_cannot_happen(operation)
    made["paths"] |= paths
    made["tags"] = [*made["tags"], *tags]
    schemas.pop("ValidationErrorModel", None)
    made["components"]["schemas"] = dict(sorted(schemas.items()))
    made["paths"] = dict(sorted(made["paths"].items()))
    return made


def _add(schemas: dict[str, Any], name: str, model: type[BaseModel], mode: JsonSchemaMode) -> None:
    schema = model.model_json_schema(mode=mode, ref_template=f"{OPENAPI3_REF_PREFIX}/{{model}}")
    schemas |= schema.pop("$defs", {})
    schemas[name] = schema


def _leave_out_what_cannot_happen(operation: dict[str, Any]) -> None:
    """Remove the 422 that flask-openapi3 adds to every endpoint in its own format."""
    if "description" in operation:
        operation["description"] = operation["description"].replace("<br/>", "\n").strip()
    replies = operation["responses"]
    schema = replies.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("type") == "array":
        del replies["422"]
    for reply in replies.values():
        reply.pop("links", None)
