"""OpenAPI operations of addresses outside this package: payment callbacks and health."""

from typing import Any

from portal.api.openapi.document import documented
from portal.api.schemas.health import DETAILED_EXAMPLE, HEALTH_EXAMPLE, DetailedHealth, Health
from portal.api.schemas.webhooks import Received

_CALLBACK: dict[str, Any] = {
    "tags": ["webhooks"],
    "description": (
        "The provider's own body with its own signature. An invalid signature is 400 and changes nothing; a repeated "
        "callback is `processed: false`; a provider that does not sign its callbacks is queried instead."
    ),
    "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True},
    **documented(
        200,
        Received,
        example={"received": True, "processed": True},
        errors={400: "callback_signature_invalid", 404: "payment_provider_not_found", 413: ""},
        is_open=True,
        validates=False,
    ),
}
TAGS = (
    {"name": "webhooks", "description": "Callbacks of payment providers."},
    {"name": "health", "description": "Health and metrics of the platform."},
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
    "summary": "Return metrics for Prometheus.",
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
    """Return an operation for JSON: status codes as strings, without empty fields."""
    replies = {str(status): reply for status, reply in facts.pop("responses").items()}
    return {name: value for name, value in facts.items() if value is not None} | {"responses": replies}


def paths() -> dict[str, Any]:
    """Return the operations by path."""
    health = documented(200, Health, example=HEALTH_EXAMPLE, is_open=True, validates=False)
    detailed = documented(200, DetailedHealth, example=DETAILED_EXAMPLE, validates=False)
    return {
        "/api/v1/webhooks/payment": {
            "post": _operation(
                operationId="webhooks_mock", summary="Receive a callback of the mock provider.", **_CALLBACK
            )
        },
        "/api/v1/webhooks/payment/{provider}": {
            "post": _operation(
                operationId="webhooks_provider",
                summary="Receive a callback of a payment provider.",
                parameters=[_PROVIDER],
                **_CALLBACK,
            )
        },
        "/metrics": {"get": _METRICS},
        "/health": {
            "get": _operation(
                operationId="health",
                tags=["health"],
                summary="Return the health of the platform, always with 200.",
                **health,
            )
        },
        "/health/detailed": {
            "get": _operation(
                operationId="health_detailed",
                tags=["health"],
                summary="Return the health and response time of each component.",
                description="For admins, and without credentials for the ops networks.",
                **detailed,
            )
        },
    }
