"""The document's words for addresses that are no views of this package: providers' callbacks, and health."""

from typing import Any

from portal.api.openapi.document import documented
from portal.api.schemas.health import DETAILED_EXAMPLE, HEALTH_EXAMPLE, DetailedHealth, Health
from portal.api.schemas.webhooks import Received

_CALLBACK: dict[str, Any] = {
    "tags": ["webhooks"],
    "description": (
        "The provider's own body with its own signature. A bad signature is 400 and changes nothing; a callback that "
        "was here before is `processed: false`; one of a provider that does not sign only makes us ask the provider."
    ),
    "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True},
    **documented(
        200,
        Received,
        example={"received": True, "processed": True},
        errors={400: "The signature of the callback is not valid.", 404: "Payment method not found.", 413: ""},
        is_open=True,
        validates=False,
    ),
}
TAGS = (
    {"name": "webhooks", "description": "For payment providers."},
    {"name": "health", "description": "How the platform is."},
)
_PROVIDER = {
    "name": "provider",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "enum": ["mock", "stripe", "yookassa"]},
}


_METRICS: dict[str, Any] = {
    "operationId": "metrics",
    "tags": ["health"],
    "summary": "Give the figures for Prometheus.",
    "description": "For the ops networks only.",
    "responses": {
        "200": {
            "description": "Success",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "active_tokens 17.0\n"}},
        },
        "403": {
            "description": "From another network: a page",
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
    },
}


def _operation(**facts: Any) -> dict[str, Any]:
    """Return an operation as JSON wants it: status codes are strings, and what is not said is not there."""
    replies = {str(status): reply for status, reply in facts.pop("responses").items()}
    return {name: value for name, value in facts.items() if value is not None} | {"responses": replies}


def paths() -> dict[str, Any]:
    """Return these addresses as the document has them."""
    health = documented(200, Health, example=HEALTH_EXAMPLE, is_open=True, validates=False)
    detailed = documented(200, DetailedHealth, example=DETAILED_EXAMPLE, validates=False)
    return {
        "/api/v1/webhooks/payment": {
            "post": _operation(
                operationId="webhooks_mock", summary="Take a callback of the mock provider.", **_CALLBACK
            )
        },
        "/api/v1/webhooks/payment/{provider}": {
            "post": _operation(
                operationId="webhooks_provider",
                summary="Take a callback of a payment provider.",
                parameters=[_PROVIDER],
                **_CALLBACK,
            )
        },
        "/metrics": {"get": _METRICS},
        "/health": {
            "get": _operation(
                operationId="health", tags=["health"], summary="Say how the platform is; always with 200.", **health
            )
        },
        "/health/detailed": {
            "get": _operation(
                operationId="health_detailed",
                tags=["health"],
                summary="Say how each part is, and how long it took to answer.",
                description="For superusers, and without credentials for the ops networks.",
                **detailed,
            )
        },
    }
