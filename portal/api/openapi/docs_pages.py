"""Pages of the OpenAPI document: Swagger UI and ReDoc, with scripts and styles from their wheels."""

from functools import cache
from pathlib import Path
from typing import Any, cast

import flask_openapi3_redoc
import flask_openapi3_swagger
from flask import Blueprint, Response, abort, current_app, jsonify, make_response, render_template, send_from_directory
from flask_openapi3 import OpenAPI

from portal.api.openapi import extra_paths
from portal.api.openapi.document import document
from portal.request import security_headers

blueprint = Blueprint("docs", __name__)

_FOLDERS = {
    "swagger": Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger",
    "redoc": Path(flask_openapi3_redoc.__file__).parent / "templates" / "redoc",
}
_WITH_A_STRANGERS_LOGO = ("redoc", "js/redoc.standalone.js")
_ASSETS = {
    "swagger": {"css/swagger-ui.css", "js/swagger-ui-bundle.js", "images/swagger.svg"},
    "redoc": {"js/redoc.standalone.js", "images/redoc.svg"},
}


def whole(app: OpenAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the operations of extra_paths."""
    return document(app, extra_paths.paths(), extra_paths.TAGS)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Return the OpenAPI document."""
    return jsonify(whole(cast(OpenAPI, current_app)))


@blueprint.get("/docs")
def swagger() -> Response:
    """Show the document with Swagger UI, which can send requests."""
    return _page("swagger")


@blueprint.get("/redoc")
def redoc() -> Response:
    """Show the document with ReDoc."""
    return _page("redoc")


@blueprint.get("/docs/assets/<reader>/<path:filename>")
def asset(reader: str, filename: str) -> Response:
    """Return a script, style or image of Swagger UI or ReDoc."""
    if filename not in _ASSETS.get(reader, ()):
        abort(404)
    if (reader, filename) == _WITH_A_STRANGERS_LOGO:
        return Response(_without_a_strangers_logo(), mimetype="text/javascript")
    return send_from_directory(_FOLDERS[reader], filename, max_age=86400)


@cache
def _without_a_strangers_logo() -> str:
    """Return ReDoc's script with the logo from its wheel, so that no page requests another host."""
    reader, filename = _WITH_A_STRANGERS_LOGO
    script = (_FOLDERS[reader] / filename).read_text(encoding="utf-8")
    return script.replace("https://cdn.redoc.ly/redoc/logo-mini.svg", "/docs/assets/redoc/images/redoc.svg")


def _page(reader: str) -> Response:
    response = make_response(render_template(f"api/{reader}.html"))
    response.headers["Content-Security-Policy"] = security_headers.content_security_policy(draws_itself=True)
    return response
