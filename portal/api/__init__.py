"""The JSON API under /api/v1, over the same services as the pages, with an OpenAPI document."""

from typing import Any

from flask_openapi3 import OpenAPI

from models.config.settings import Settings
from portal.api.endpoints import admin, analytics, auth, bundles, mock_payments, tokens, users, wallet
from portal.api.openapi import docs_pages
from portal.api.openapi.document import INFO, SECURITY_SCHEMES
from portal.api.responses import InvalidRequest, Json, on_invalid_request, on_validation_error

# The pages of the document are our own (openapi/docs_pages.py), under the same Content-Security-Policy as all pages.
OPTIONS: dict[str, Any] = {
    "info": INFO,
    "security_schemes": SECURITY_SCHEMES,
    "validation_error_callback": on_validation_error,
    "doc_ui": False,
}


def init_app(app: OpenAPI, settings: Settings) -> None:
    """Register the endpoints under /api/v1, and their document."""
    app.json = Json(app)
    app.register_error_handler(InvalidRequest, on_invalid_request)
    for module in (auth, users, tokens, wallet, bundles, admin, analytics):
        app.register_api(module.blueprint)
    if "mock" in settings.payments.providers:
        app.register_api(mock_payments.blueprint)
    app.register_blueprint(docs_pages.blueprint)
